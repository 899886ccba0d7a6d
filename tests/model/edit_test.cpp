// Edits, linear relations and gradient estimates: what must hold of any model
// (docs/locate.md), for small random ones of every family.
#include <algorithm>
#include <cmath>
#include <numeric>

#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "model/edit/attribution.hpp"
#include "model/edit/check_cases.hpp"
#include "model/edit/lre.hpp"
#include "model/edit/memit.hpp"
#include "model/edit/optimise.hpp"
#include "model/edit/rome.hpp"
#include "model/reference/reference.hpp"
#include "model/replay/replay.hpp"
#include "model/threads.hpp"
#include "random_checkpoint.hpp"
#include "tests/expect_input_error.hpp"

namespace factflow {
namespace {

const std::vector<int> kPrompt = {3, 11, 7, 19, 2, 23};
// Within reach of the last token in every layer: the windows of small Gemmas are three tokens wide.
constexpr int kSubjectLast = 3;
const std::vector<PromptToken> kSubject = {{kPrompt, kSubjectLast}};

EditRequest request() {
  EditRequest request;
  request.prompt = kPrompt;
  request.subject_last = kSubjectLast;
  request.answer = 5;
  request.target = {13, 4};
  request.contexts = {{}, {8, 1}};
  request.essence = {11, 7, 20};
  request.essence_subject_last = 1;
  request.neighbours = {{3, 14, 9, 19, 2, 23}};
  return request;
}

std::vector<std::vector<int>> runs() {
  std::vector<std::vector<int>> runs;
  for (int i = 0; i < 12; ++i) {
    std::vector<int>& ids = runs.emplace_back();
    for (int t = 0; t < 9; ++t) ids.push_back((5 * i + 7 * t + i * t) % 29);
  }
  return runs;
}

EditSettings settings_of(int iterations) {
  EditSettings settings;
  settings.iterations = iterations;
  settings.stop_loss = 0;
  return settings;
}

double length(const at::Tensor& x) {
  return x.norm().item<double>();
}

// A direction of norm 1 that is no special one, of the shape of x.
at::Tensor direction(const at::Tensor& x) {
  const at::Tensor d = at::sin(at::arange(1, x.numel() + 1, at::kDouble)).reshape(x.sizes());
  return d / d.norm();
}

// Fourth-order difference quotient of a function of a number at 0.
template <class Function>
auto quotient(Function f, double step) {
  return (8 * (f(step) - f(-step)) - (f(2 * step) - f(-2 * step))) / (12 * step);
}

class AnyFamily : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    set_threads(1, 1);
    network_ = random_network(GetParam(), 1, Precision::kFp64);
  }
  int layers() const { return network_->architecture().layers; }
  int last() const { return static_cast<int>(kPrompt.size()) - 1; }
  // Matrices of the middle layer that can be edited.
  std::vector<EditedMatrix> matrices() const {
    std::vector<EditedMatrix> found;
    for (const auto matrix : {EditedMatrix::kWa, EditedMatrix::kWxbc, EditedMatrix::kWg,
                              EditedMatrix::kWo, EditedMatrix::kWdown}) {
      try {
        network_->editable(1, matrix);
        found.push_back(matrix);
      } catch (const std::invalid_argument&) {  // this family has no such matrix
      }
    }
    return found;
  }
  RomeEdit rome(EditedMatrix matrix, const KeyStatistics& statistics, int iterations) const {
    return rome_edit(*network_, matrix, 1, request(), statistics, settings_of(iterations));
  }
  at::Tensor whole_weight(EditedMatrix matrix) const {
    return network_->editable(1, matrix).matrix.projection->weight();
  }

  std::unique_ptr<Network> network_;
};

// d log p(answer) / d the value of every site of a layer at all tokens, against a difference
// quotient.
TEST_P(AnyFamily, GradientsAreDifferenceQuotients) {
  const ReferenceForward reference(*network_);
  for (const Site site : network_->architecture().sites()) {
    const SiteAt at{site, site == Site::kNorm ? layers() : 1};
    const ReferenceForward::Result run = reference.run(kPrompt, {}, {&at, 1});
    const at::Tensor value = run.values.at(at), log = run.logits[last()].log_softmax(0)[5];
    const at::Tensor gradient = torch::autograd::grad({log}, {value})[0], d = direction(value);
    const auto moved = [&](double step) {
      std::vector<TensorWrite> writes;
      for (int token = 0; token <= last(); ++token)
        writes.push_back({at, token, step * d[token], /*add=*/true});
      return reference.run(kPrompt, {}, {}, writes).logits[last()].log_softmax(0)[5].item<double>();
    };
    const double expected = quotient(moved, 1e-4 * (1 + length(value))),
                 found = (gradient * d).sum().item<double>();
    EXPECT_NEAR(found, expected, 1e-7 * (length(gradient) + 1)) << to_string(site);
  }
}

// Of the loss of an edit, through every matrix: of the mean nll, since the derivatives of the
// divergence and of the norm are 0 there.
TEST_P(AnyFamily, FirstGradientOfAnEditIsTheDifferenceQuotient) {
  for (const EditedMatrix matrix : matrices()) {
    const EditSlot slot(*network_, matrix, 1);
    const auto moved = [&](const at::Tensor& by) {
      EditedValue value = slot.edited();
      value.clean = [&](const std::vector<PromptToken>& places) {
        return slot.values(places).outputs + by;
      };
      const EditRequest asked = request();
      return optimise(*network_, value, {&asked, 1}, settings_of(2)).front();
    };
    const OptimisedValue here = moved(at::zeros({1}, at::kDouble));
    const at::Tensor d = direction(here.start);
    const double expected = quotient([&](double step) { return moved(step * d).trace[0].nll; },
                                     1e-4 * (1 + length(here.start)));
    EXPECT_NEAR(here.first_gradient.dot(d).item<double>(), expected,
                1e-7 * (length(here.first_gradient) + 1))
        << to_string(matrix);
  }
}

TEST_P(AnyFamily, AnEditMapsTheKeyToTheValue) {
  for (const EditedMatrix matrix : matrices()) {
    SCOPED_TRACE(to_string(matrix));
    const RomeEdit edit = rome(matrix, {runs(), 0.05}, 4);
    const at::Tensor delta = edit.delta(), weight = whole_weight(matrix), before = weight.clone();
    const EditSlot slot(*network_, matrix, 1);
    const at::Tensor logits = ReferenceForward(*network_).run(kPrompt).logits;
    // Orthogonal to u in the metric of the covariance: k . C'^-1 k_bar = 0.
    at::Tensor other = direction(edit.k0);
    other = other - edit.u.dot(other) * edit.u;
    const at::Tensor kept = slot.applied(other);
    {
      const AppliedEdit applied(*network_, slot, delta);
      const SlotValues now = slot.values(kSubject);
      EXPECT_LE(length(now.outputs[0] - edit.v_star), 1e-11 * (1 + length(edit.v_star)));
      EXPECT_TRUE(at::equal(now.keys[0], edit.k0)) << "k0 does not move";
      EXPECT_LE(length(slot.applied(other) - kept), 1e-11 * (1 + length(kept)));
      EXPECT_GT(length(ReferenceForward(*network_).run(kPrompt).logits - logits), 1e-6);
      // All that changed is the edited rows and columns.
      at::Tensor changed = weight.clone();
      const EditableMatrix place = network_->editable(1, matrix).matrix;
      changed.narrow(0, place.first_row, place.rows)
          .narrow(1, place.first_column, place.columns)
          .copy_(before.narrow(0, place.first_row, place.rows)
                     .narrow(1, place.first_column, place.columns));
      EXPECT_TRUE(at::equal(changed, before)) << "the other rows";
    }
    EXPECT_TRUE(at::equal(weight, before)) << "exact undo";
    EXPECT_TRUE(at::equal(ReferenceForward(*network_).run(kPrompt).logits, logits));
    const at::Tensor values = at::linalg_svdvals(delta);
    EXPECT_LE(values[1].item<double>(), 1e-14 * values[0].item<double>()) << "rank one";
    EXPECT_LE(length(edit.v_star - edit.v0), 3 * length(edit.v0) * (1 + 1e-12)) << "clamp";
  }
}

TEST_P(AnyFamily, BehindAContextThePromptMayBeOtherTokens) {
  EditRequest asked = request();
  asked.continued = {9, 3, 11, 7, 19};
  asked.continued_subject_last = 3;
  const std::vector<PromptToken> places = {{kPrompt, kSubjectLast}, {{8, 1, 9, 3, 11, 7, 19}, 5}};
  for (const EditedMatrix matrix : matrices()) {
    const RomeEdit edit = rome_edit(*network_, matrix, 1, asked, {runs(), 0.05}, settings_of(1));
    const at::Tensor keys = EditSlot(*network_, matrix, 1).keys(places);
    EXPECT_LE(length(edit.k_bar - keys.mean(0)), 1e-13 * length(edit.k_bar)) << to_string(matrix);
    EXPECT_GT(length(edit.k_bar - rome(matrix, {runs(), 0.05}, 1).k_bar), 1e-6);
  }
  asked.continued_subject_last = 5;
  EXPECT_THROW(rome_edit(*network_, matrices().front(), 1, asked, {}, settings_of(1)),
               std::invalid_argument);
}

// The tokens after the subject cannot matter to what stands at it.
TEST_P(AnyFamily, WithoutAStepNothingIsEdited) {
  for (const EditedMatrix matrix : matrices()) {
    const RomeEdit edit = rome(matrix, {runs(), 0.05}, 1);
    EXPECT_TRUE(at::equal(edit.v_star, edit.v0)) << to_string(matrix);
    EXPECT_LE(length(edit.v0 - edit.c0), 1e-13 * (1 + length(edit.c0))) << to_string(matrix);
    EXPECT_LE(length(edit.delta()), 1e-12) << to_string(matrix);
    EXPECT_FALSE(edit.first_gradient.defined());
  }
}

TEST_P(AnyFamily, TheCovarianceActsAsDefined) {
  for (const EditedMatrix matrix : matrices()) {
    SCOPED_TRACE(to_string(matrix));
    const RomeEdit identity = rome(matrix, {}, 3), edit = rome(matrix, {runs(), 0.05}, 3);
    const at::Tensor expected =
        at::outer(identity.v_star - identity.c0, identity.k_bar) / identity.k0.dot(identity.k_bar);
    EXPECT_LE(length(identity.delta() - expected), 1e-11 * length(expected));
    const EditSlot slot(*network_, matrix, 1);
    const at::Tensor c = key_covariance(slot, runs(), 0.05);
    const at::Tensor scaled = at::linalg_solve(7 * c, edit.k_bar);
    EXPECT_LE(length(scaled / scaled.norm() - edit.u), 1e-9);
    // Shrunk all the way it is a multiple of the identity with the same trace.
    const at::Tensor whole = key_covariance(slot, runs(), 1);
    EXPECT_NEAR(whole.trace().item<double>(), c.trace().item<double>(),
                1e-11 * c.trace().item<double>());
    EXPECT_LE(length(whole - whole[0][0] * at::eye(c.size(0), at::kDouble)), 1e-11 * length(whole));
  }
}

// The engine has the same weights: it answers as the edited model does.
TEST_P(AnyFamily, TheEngineSeesAnEdit) {
  const EditedMatrix matrix = matrices().back();
  const RomeEdit edit = rome(matrix, {}, 4);
  const AppliedEdit applied(*network_, EditSlot(*network_, matrix, 1), edit.delta());
  const PromptOutcome expected = outcomes(*network_, request())[0];
  const std::vector<ReplayRequest> requests = {{kPrompt, 13}, {kPrompt, 5}};
  const std::vector<ReplayResult> results = ReplayEngine(*network_).run(requests);
  EXPECT_NEAR(results[0].clean.log_probability, expected.log_target, 1e-9);
  EXPECT_NEAR(results[1].clean.log_probability, expected.log_answer, 1e-9);
}

// The last matrix of a layer: nothing of the layer comes behind it.
EditedMatrix added_to_the_stream(const std::vector<EditedMatrix>& matrices) {
  return std::count(matrices.begin(), matrices.end(), EditedMatrix::kWdown) > 0
             ? EditedMatrix::kWdown
             : EditedMatrix::kWo;
}

// Whether norms or factors stand between a block and the stream.
bool changes_what_blocks_add(const Architecture& architecture) {
  for (const LayerShape& layer : architecture.blocks)
    for (const BlockShape& block : layer)
      if (block.norm_behind || block.norm_of_stream || block.scale != 1) return true;
  return false;
}

TEST_P(AnyFamily, MemitInOneLayerReachesItsValues) {
  EditRequest first = request(), second = request();
  first.contexts = second.contexts = {{}};
  second.prompt = {17, 6, 21, 9};
  second.subject_last = 1;
  second.target = {10};
  const std::vector<EditRequest> requests = {first, second};
  MemitPlan plan{added_to_the_stream(matrices()), {1}, runs(), 0.05, 1e-9};
  if (changes_what_blocks_add(network_->architecture())) {
    EXPECT_THROW(memit_edit(*network_, plan, requests, settings_of(3)), std::invalid_argument);
    return;
  }
  const at::Tensor weight = whole_weight(plan.matrix), before = weight.clone();
  const MemitEdit edit = memit_edit(*network_, plan, requests, settings_of(3));
  EXPECT_TRUE(at::equal(weight, before)) << "the network is what it was";
  {
    const AppliedEdit applied(*network_, EditSlot(*network_, plan.matrix, 1),
                              edit.steps[0].delta());
    for (size_t i = 0; i < requests.size(); ++i) {
      const at::NoGradGuard no_graph;
      const SiteAt top[] = {{Site::kH, 2}};
      const at::Tensor h = ReferenceForward(*network_)
                               .run(requests[i].prompt, {}, top)
                               .values.at(top[0])[requests[i].subject_last];
      EXPECT_LE(length(h - edit.z[static_cast<std::int64_t>(i)]), 1e-5);
    }
  }
  plan.weight = 0.02;
  plan.layers = {0, 1};
  const MemitEdit still = memit_edit(*network_, plan, requests, settings_of(1));
  for (const MemitStep& step : still.steps) {
    EXPECT_LE(length(step.resid), 1e-12) << "without a step Delta = 0";
    const at::Tensor c = key_covariance(EditSlot(*network_, plan.matrix, step.layer), runs(), 0.05),
                     k = step.keys.t();
    EXPECT_LE(length((0.02 * c + k.matmul(k.t())).matmul(step.adj_k.t()) - k), 1e-9);
  }
}

TEST_P(AnyFamily, ARelationOfOnePromptIsExactThere) {
  const RelationPrompt prompt{kPrompt, kSubjectLast};
  for (int layer = 0; layer <= layers(); ++layer) {
    const LinearRelation relation = fit_relation(*network_, {prompt}, layer);
    const RelationJacobian& part = relation.parts[0];
    EXPECT_LE(length(relation.predicted(part.s, 1) - part.z), 1e-12 * (1 + length(part.z)));
    EXPECT_TRUE(at::equal(relation.predicted(part.s, 0), relation.b));
  }
}

TEST_P(AnyFamily, AfterTheLastLayerARelationIsZeroOrTheIdentity) {
  const auto width = network_->architecture().hidden;
  const RelationJacobian other = relation_jacobian(*network_, {kPrompt, kSubjectLast}, layers()),
                         same = relation_jacobian(*network_, {kPrompt, last()}, layers());
  EXPECT_TRUE(at::equal(other.j, at::zeros({width, width}, at::kDouble)));
  EXPECT_TRUE(at::equal(same.j, at::eye(width, at::kDouble)));
  // So the relation of any last token is affine and the same for all: every prediction is right.
  const LinearRelation relation = fit_relation(*network_, {{kPrompt, last()}}, layers());
  EXPECT_LE(length(relation.b), 1e-12);
  for (const std::vector<int>& ids : runs()) {
    const RelationPrompt test{ids, static_cast<int>(ids.size()) - 1};
    const RelationJacobian states = relation_states(*network_, test, layers());
    const at::Tensor logits = ReferenceForward(*network_).run(ids).logits[test.subject_last];
    const at::Tensor predicted = read_out(*network_, relation.predicted(states.s, 1));
    EXPECT_EQ(predicted.argmax().item<int>(), logits.argmax().item<int>());
    EXPECT_LE(length(read_out(*network_, states.z) - logits.detach()), 1e-11 * length(logits));
  }
}

TEST_P(AnyFamily, TheJacobianIsTheDifferenceQuotient) {
  const RelationPrompt prompt{kPrompt, kSubjectLast};
  const RelationJacobian part = relation_jacobian(*network_, prompt, 1);
  const at::Tensor d = direction(part.s), expected = part.j.mv(d);
  const SiteAt from{Site::kH, 1}, to{Site::kH, layers()};
  const at::Tensor found = quotient(
      [&](double step) {
        const TensorWrite write{from, kSubjectLast, step * d, /*add=*/true};
        return ReferenceForward(*network_)
            .run(kPrompt, {}, {&to, 1}, {&write, 1})
            .values.at(to)[last()]
            .detach();
      },
      1e-4 * (1 + length(part.s)));
  EXPECT_LE(length(found - expected), 1e-7 * (1 + length(part.j)));
}

TEST_P(AnyFamily, TheWholeInverseUndoesARelation) {
  const LinearRelation relation =
      fit_relation(*network_, {{kPrompt, kSubjectLast}, {{4, 9, 7, 1, 2, 23}, kSubjectLast}}, 1);
  const at::Tensor& w = relation.w;
  const at::Tensor reachable = w.mv(direction(relation.b));
  const auto width = static_cast<int>(w.size(0));
  const at::Tensor undone = w.mv(low_rank_inverse(w, width).mv(reachable));
  EXPECT_LE(length(undone - reachable), 1e-8 * length(reachable));
  EXPECT_EQ(length(low_rank_inverse(w, 0)), 0);
  const at::Tensor inverse = low_rank_inverse(w, 3);
  EXPECT_LE(length(inverse.matmul(w).matmul(inverse) - inverse), 1e-9 * length(inverse));
  const at::Tensor values = at::linalg_svdvals(inverse);
  EXPECT_LE(values[3].item<double>(), 1e-11 * values[0].item<double>()) << "of rank 3";
  // Every LayerNorm takes the mean away, so a source before the last token cannot pass it on.
  const bool layer_norm = network_->final_norm().subtract_mean;
  // So does one of the stream itself, of what arrives.
  const bool singular = layer_norm || GetParam() == "opt_post";
  EXPECT_EQ(singular_values(w)[width - 1].item<double>() == 0, singular);
  if (layer_norm) EXPECT_LE(length(w.sum(1)), 1e-11 * length(w));
}

// Estimates are slopes of p(answer) on the way of one value from corrupted to clean: at its start,
// or the mean over the midpoints of its steps.
TEST_P(AnyFamily, GradientEstimatesAreSlopes) {
  PromptPair pair{kPrompt, kPrompt, 5};
  pair.corrupted[1] = 15;
  const ReferenceForward reference(*network_);
  const std::vector<Site> there = network_->architecture().sites();
  const bool branches = std::count(there.begin(), there.end(), Site::kO) == 0;
  const Site added = branches ? Site::kORecurrent : Site::kO;
  const at::Tensor integrated = integrated_maps(*network_, {pair}, {added}, 2)[0][0],
                   gradient = gradient_maps(*network_, {pair}, {added})[0][0];
  for (int layer = 0; layer < layers(); ++layer) {
    const at::NoGradGuard no_graph;
    const SiteAt at{added, layer};
    const at::Tensor from = reference.run(pair.corrupted, {}, {&at, 1}).values.at(at),
                     to = reference.run(pair.clean, {}, {&at, 1}).values.at(at);
    for (int token = 0; token <= last(); ++token) {
      const auto slope = [&](double at_way) {
        const auto p = [&](double step) {
          const TensorWrite write{at, token,
                                  from[token] + (at_way + step) * (to[token] - from[token])};
          return reference.run(pair.corrupted, {}, {}, {&write, 1})
              .logits[last()]
              .softmax(0)[pair.answer]
              .item<double>();
        };
        return quotient(p, 2e-5);  // Falcon-Mamba's norms bend within 1e-3 of the way
      };
      const double start = slope(0), mean = (slope(0.25) + slope(0.75)) / 2;
      EXPECT_NEAR(gradient[token][layer].item<double>(), start, 1e-6 * std::abs(start) + 1e-11)
          << token << ", " << layer;
      EXPECT_NEAR(integrated[token][layer].item<double>(), mean, 1e-6 * std::abs(mean) + 1e-11)
          << token << ", " << layer;
    }
  }
  // Before the first difference there is nothing to patch.
  EXPECT_EQ(length(gradient[0]), 0);
  EXPECT_EQ(length(integrated[0]), 0);
}

// And of many steps the mean slope is the effect itself.
TEST_P(AnyFamily, TheStreamAtTheLastTokenCarriesEverything) {
  const PromptPair pair{{3, 11, 7}, {3, 15, 7}, 5};
  const ReferenceForward reference(*network_);
  const auto p = [&](const std::vector<int>& ids) {
    return std::exp(reference.log_probabilities(ids)[pair.answer].item<double>());
  };
  const at::Tensor estimates = integrated_maps(*network_, {pair}, {Site::kH}, 100)[0][0];
  const double effect = p(pair.clean) - p(pair.corrupted);
  EXPECT_NEAR(estimates[2][layers()].item<double>(), effect, 5e-3 * std::abs(effect));
  for (int token = 0; token < 2; ++token)
    EXPECT_EQ(estimates[token][layers()].item<double>(), 0) << "no other token is read any more";
}

INSTANTIATE_TEST_SUITE_P(Families, AnyFamily,
                         testing::Values("gpt2", "llama", "mistral", "qwen2", "gpt_neox", "mamba",
                                         "falcon_mamba", "mamba2", "mamba_ssm", "mamba_ssm2"),
                         [](const auto& test) { return test.param; });
// Whose layers are alike: two branches in each, and those that carry more than the stream.
INSTANTIATE_TEST_SUITE_P(Hybrids, AnyFamily, testing::Values("falcon_h1", "rwkv7", "zamba2_shared"),
                         [](const auto& test) { return test.param; });
INSTANTIATE_TEST_SUITE_P(Decoders, AnyFamily, testing::ValuesIn(small_decoders()),
                         [](const auto& test) { return test.param; });

TEST(TensorWrite, IsAWriteThatCarriesAGraph) {
  const auto network = random_network("mamba", 1, Precision::kFp64);
  const ReferenceForward reference(*network);
  const at::Tensor value = direction(at::zeros({70}, at::kDouble));
  Write plain;
  plain.site = Site::kY;
  plain.layers = {1};
  plain.tokens = {2};
  const auto* data = value.data_ptr<double>();
  plain.value = Vector{{data, data + value.numel()}};
  for (const bool add : {false, true}) {
    plain.add = add;
    const Intervention list[] = {plain};
    const TensorWrite writes[] = {{{Site::kY, 1}, 2, value, add}};
    EXPECT_TRUE(at::equal(reference.run(kPrompt, list).logits,
                          reference.run(kPrompt, {}, {}, writes).logits));
  }
  // After the interventions of the site, and in the order of the list.
  const Intervention first[] = {plain};
  const TensorWrite then[] = {{{Site::kY, 1}, 2, at::zeros_like(value)},
                              {{Site::kY, 1}, 2, value, /*add=*/true}};
  const TensorWrite only[] = {{{Site::kY, 1}, 2, value}};
  EXPECT_TRUE(at::equal(reference.run(kPrompt, first, {}, then).logits,
                        reference.run(kPrompt, {}, {}, only).logits));
}

template <class Action>
void refused(Action action, const char* words) {
  EXPECT_THAT(action, testing::ThrowsMessage<std::invalid_argument>(testing::HasSubstr(words)));
}

TEST(TensorWrite, WhatIsNotThereIsRefused) {
  const auto network = random_network("mamba", 1, Precision::kFp64);
  const auto run = [&](SiteAt at, int token, int width) {
    return [&network, at, token, width] {
      const TensorWrite write{at, token, at::zeros({width}, at::kDouble)};
      ReferenceForward(*network).run(kPrompt, {}, {}, {&write, 1});
    };
  };
  refused(run({Site::kY, 1}, 6, 70), "token 6 of a prompt of 6");
  refused(run({Site::kY, 1}, 0, 16), "a tensor of 16 numbers for site y, which has 70");
  refused(run({Site::kMlp, 1}, 0, 16), "mamba has no site mlp");
  refused(run({Site::kY, 3}, 0, 70), "site y has layers 0 to 2, not 3");
}

TEST(Edits, WhatIsNotThereIsRefused) {
  const auto network = random_network("mamba", 1, Precision::kFp64);
  refused([&] { EditSlot(*network, EditedMatrix::kWdown, 1); }, "no matrix W_down; it has W_a");
  refused([&] { EditSlot(*network, EditedMatrix::kWo, 3); }, "layer 3 of a model of 3");
  const EditSlot slot(*network, EditedMatrix::kWo, 1);
  refused(
      [&] {
        AppliedEdit(*network, slot, at::zeros({2, 3}, at::kDouble));
      },
      "an edit of 2 x 3 for a matrix of 16 x 70");
  refused([&] { key_covariance(slot, {}, 0); }, "a covariance of no runs");
  const auto asked = [&](auto change) {
    return [&network, change] {
      EditRequest wrong = request();
      change(wrong);
      rome_edit(*network, EditedMatrix::kWo, 1, wrong, {}, settings_of(2));
    };
  };
  refused(asked([](EditRequest& r) { r.contexts.clear(); }), "without contexts");
  refused(asked([](EditRequest& r) { r.target.clear(); }), "without a target");
  refused(asked([](EditRequest& r) { r.subject_last = 6; }), "outside its prompt");
  refused(asked([](EditRequest& r) { r.essence.clear(); }), "outside its prompt");
  refused(
      [&] {
        memit_edit(*network, {EditedMatrix::kWo, {2, 1}, runs(), 0, 1}, {request()},
                   settings_of(2));
      },
      "must ascend");
  refused([&] { fit_relation(*network, {}, 1); }, "a relation without prompts");
  refused([&] { relation_states(*network, {kPrompt, 6}, 1); }, "outside its prompt");
  const auto estimated = [&](const PromptPair& pair, Site site, int steps) {
    return [&network, pair, site, steps] { integrated_maps(*network, {pair}, {site}, steps); };
  };
  refused(estimated({kPrompt, {1, 2}, 0}, Site::kH, 5),
          "a clean prompt of 6 tokens, a corrupted one of 2");
  refused(estimated({kPrompt, kPrompt, -1}, Site::kH, 5), "the answer is token -1");
  refused(estimated({kPrompt, kPrompt, 0}, Site::kMlp, 5), "has no site mlp");
  refused(estimated({kPrompt, kPrompt, 0}, Site::kNorm, 5), "site norm has layers");
  refused(estimated({kPrompt, kPrompt, 0}, Site::kH, 0), "0 steps");
  const auto rough = random_network("mamba", 1, Precision::kFp32);
  EXPECT_THAT(input_error_of([&] { check_locate_cases(*rough, {}); }),
              testing::HasSubstr("edits are compared in fp64, and the model is in fp32"));
  EXPECT_THAT(input_error_of([] { parse_edited_matrix("W_z"); }), testing::HasSubstr("W_z"));
}

}  // namespace
}  // namespace factflow
