// Many facts side by side (model/reference/reference_rows.hpp, model/edit/) against one prompt at a
// time through the materialised reference forward, for small random models of every family.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "model/edit/attribution.hpp"
#include "model/edit/judge.hpp"
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

// Of different lengths, contexts and targets.
std::vector<EditRequest> requests() {
  std::vector<EditRequest> all(4);
  for (size_t i = 0; i < all.size(); ++i) {
    const auto n = static_cast<int>(i);
    EditRequest& one = all[i];
    for (int t = 0; t < 4 + n; ++t) one.prompt.push_back((3 + 11 * t + 7 * n + n * t) % 29);
    one.subject_last = 1 + n % 3;
    one.answer = 5;
    for (int t = 0; t <= n % 2; ++t) one.target.push_back((13 + 5 * n + 8 * t) % 29);
    one.contexts = {{}, {8, 1 + n}};
    if (n == 2) one.contexts.push_back({4, 4, 9, 6});
    one.essence = {11, 7 + n, 20};
    one.essence_subject_last = 1;
    one.neighbours = {{3, 14, 9, 19 - n}};
  }
  return all;
}

std::vector<std::vector<int>> runs(int count) {
  std::vector<std::vector<int>> runs;
  for (int i = 0; i < count; ++i) {
    std::vector<int>& ids = runs.emplace_back();
    for (int t = 0; t < 6 + i % 4; ++t) ids.push_back((5 * i + 7 * t + i * t) % 29);
  }
  return runs;
}

EditSettings settings() {
  EditSettings settings;
  settings.iterations = 6;
  settings.stop_prob.reset();
  settings.stop_loss = 0;
  return settings;
}

// Relative; 0 for the same numbers, be they all 0.
double distance(const at::Tensor& found, const at::Tensor& expected) {
  if (at::equal(found.to(at::kDouble), expected.to(at::kDouble))) return 0;
  return ((found.to(at::kDouble) - expected.to(at::kDouble)).norm() /
          expected.to(at::kDouble).norm())
      .item<double>();
}

at::Tensor direction(const at::Tensor& like) {
  const at::Tensor d = at::sin(at::arange(1, like.numel() + 1, at::kDouble)).reshape(like.sizes());
  return d / d.norm();
}

class Side : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    set_threads(1, 1);
    network_ = random_network(GetParam(), 1, Precision::kFp64);
  }
  int layers() const { return network_->architecture().layers; }
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
  EditedMatrix added() const {
    const std::vector<EditedMatrix> all = matrices();
    return std::count(all.begin(), all.end(), EditedMatrix::kWo) > 0 ? EditedMatrix::kWo
                                                                     : EditedMatrix::kWdown;
  }
  // log p [tokens, vocabulary] of one prompt.
  static at::Tensor log_p(const Network& network, const std::vector<int>& ids,
                          std::span<const TensorWrite> writes = {}) {
    return ReferenceForward(network).run(ids, {}, {}, writes).logits.log_softmax(1);
  }

  std::unique_ptr<Network> network_;
};

TEST_P(Side, EverySiteOfEveryRowIsThatOfItsPrompt) {
  const at::NoGradGuard no_graph;
  std::vector<PromptToken> places;
  for (const std::vector<int>& ids : runs(5))
    places.push_back({ids, static_cast<int>(ids.size()) / 2});
  std::vector<SiteAt> sites = {{Site::kH, layers()}};
  for (const Site site : network_->architecture().sites())
    for (int layer = 0; layer < layers(); ++layer)
      if (site != Site::kNorm) sites.push_back({site, layer});
  const std::vector<at::Tensor> found = ReferenceRows(*network_).values_at(places, sites);
  for (size_t row = 0; row < places.size(); ++row) {
    const auto expected = ReferenceForward(*network_).run(places[row].ids, {}, sites).values;
    for (size_t i = 0; i < sites.size(); ++i)
      EXPECT_LE(distance(found[i][static_cast<std::int64_t>(row)],
                         expected.at(sites[i])[places[row].token]),
                1e-12)
          << to_string(sites[i].site) << " " << sites[i].layer << " of row " << row;
  }
}

// Through the recurrence, layer after layer, against one graph through everything materialised; and
// against a difference quotient. At every site that an edit writes, and at the very end.
TEST_P(Side, TheGradientIsThatOfSinglePrompts) {
  std::vector<SiteAt> sites = {{Site::kH, 1}, {Site::kH, layers()}};
  for (const EditedMatrix matrix : matrices())
    sites.push_back(EditSlot(*network_, matrix, 1).edited().at);
  const std::vector<std::vector<int>> prompts = runs(3);
  const ReferenceRows forward(*network_);
  const std::vector<std::int64_t> tokens = {1, 4, 2};
  std::vector<PromptToken> places;
  for (size_t i = 0; i < prompts.size(); ++i)
    places.push_back({prompts[i], static_cast<int>(tokens[i])});
  for (const SiteAt at : sites) {
    SCOPED_TRACE(to_string(at.site));
    const at::Tensor clean = forward.values_at(places, {&at, 1})[0], by = direction(clean),
                     values = clean + 0.1 * clean.norm() * by;
    const auto loss = [&](const at::Tensor& top) {
      at::Tensor sum = at::zeros({}, at::kDouble);
      for (size_t i = 0; i < prompts.size(); ++i) {
        const at::Tensor last =
            top[static_cast<std::int64_t>(i)][static_cast<std::int64_t>(prompts[i].size()) - 1];
        sum = sum +
              static_cast<double>(i + 1) * forward.logits(last.unsqueeze(0)).log_softmax(1)[0][5];
      }
      return sum;
    };
    const ReferenceStream h = padded(forward.streams(prompts, at.layer));
    const at::Tensor places_of_rows = at::tensor(tokens, at::kLong);
    const at::Tensor gradient = forward.gradient(h, {at, places_of_rows, values}, loss);
    const auto moved = [&](double step) {
      const at::NoGradGuard no_graph;
      return loss(forward.top(h, {at, places_of_rows, values + step * by})).item<double>();
    };
    const double step = 2e-5 * (1 + values.norm().item<double>());
    const double quotient =
        (8 * (moved(step) - moved(-step)) - (moved(2 * step) - moved(-2 * step))) / (12 * step);
    EXPECT_NEAR((gradient * by).sum().item<double>(), quotient,
                1e-7 * (gradient.norm().item<double>() + 1));
    const at::AutoGradMode graph(true);
    for (size_t i = 0; i < prompts.size(); ++i) {
      const at::Tensor value = values[static_cast<std::int64_t>(i)].clone().requires_grad_(true);
      const TensorWrite write{at, places[i].token, value};
      const at::Tensor one =
          static_cast<double>(i + 1) *
          log_p(*network_, prompts[i],
                {&write, 1})[static_cast<std::int64_t>(prompts[i].size()) - 1][5];
      const at::Tensor expected = torch::autograd::grad({one}, {value})[0];
      EXPECT_LE(distance(gradient[static_cast<std::int64_t>(i)], expected), 1e-10) << i;
    }
  }
}

TEST_P(Side, AFactsEditDoesNotDependOnItsNeighbours) {
  const std::vector<EditRequest> asked = requests();
  EditSettings some = settings();
  double worst = 0;
  for (const EditedMatrix matrix : matrices()) {
    SCOPED_TRACE(to_string(matrix));
    const EditSlot slot(*network_, matrix, 1);
    const at::Tensor c = key_covariance(slot, runs(12), 0.05);
    // So that facts stop at different steps.
    some.stop_loss = 0;
    std::vector<double> losses;
    for (const RomeEdit& edit : rome_edits(*network_, matrix, 1, asked, c, some))
      losses.push_back(edit.trace[1].loss);
    std::sort(losses.begin(), losses.end());
    some.stop_loss = (losses[1] + losses[2]) / 2;
    const std::vector<RomeEdit> edits = rome_edits(*network_, matrix, 1, asked, c, some);
    size_t shortest = edits[0].trace.size(), longest = shortest;
    for (size_t i = 0; i < asked.size(); ++i) {
      const RomeEdit alone = rome_edits(*network_, matrix, 1, {&asked[i], 1}, c, some).front();
      shortest = std::min(shortest, alone.trace.size());
      longest = std::max(longest, alone.trace.size());
      ASSERT_EQ(edits[i].trace.size(), alone.trace.size());
      // Out of the reach of sliding windows nothing pulls at delta.
      if (alone.first_gradient.defined() &&
          alone.first_gradient.count_nonzero().item<std::int64_t>() == 0) {
        EXPECT_EQ(edits[i].first_gradient.count_nonzero().item<std::int64_t>(), 0);
        EXPECT_TRUE(at::equal(edits[i].v_star, edits[i].v0));
      }
      for (size_t step = 0; step < alone.trace.size(); ++step) {
        EXPECT_NEAR(edits[i].trace[step].loss, alone.trace[step].loss,
                    1e-12 * (1 + alone.trace[step].loss));
        EXPECT_NEAR(edits[i].trace[step].mean_prob, alone.trace[step].mean_prob, 1e-12);
      }
      ASSERT_EQ(edits[i].first_gradient.defined(), alone.first_gradient.defined());
      worst = std::max(worst, distance(edits[i].k0, alone.k0));
      worst = std::max(worst, distance(edits[i].k_bar, alone.k_bar));
      worst = std::max(worst, distance(edits[i].v_star, alone.v_star));
      worst = std::max(worst, distance(edits[i].u, alone.u));
      if (alone.trace.size() > 1)
        worst = std::max(worst, distance(edits[i].delta(), alone.delta()));
    }
    EXPECT_LT(shortest, longest) << "no fact dropped out";
  }
  std::cout << GetParam() << " beside others and alone " << worst << '\n';
  EXPECT_LE(worst, 1e-12);
}

// The last evaluation of each fact, one prompt at a time.
TEST_P(Side, TheLossIsThatOfSinglePrompts) {
  const at::NoGradGuard no_graph;
  const std::vector<EditRequest> asked = requests();
  const EditSettings some = settings();
  const EditSlot slot(*network_, added(), 1);
  const std::vector<OptimisedValue> found = optimise(*network_, slot.edited(), asked, some);
  for (size_t i = 0; i < asked.size(); ++i) {
    const EditRequest& request = asked[i];
    const auto written = [&](const PromptToken& place, bool edited) {
      const at::Tensor value = slot.values({&place, 1}).outputs[0];
      const TensorWrite write{slot.edited().at, place.token,
                              slot.written(edited ? value + found[i].delta : value)};
      return log_p(*network_, place.ids, {&write, 1});
    };
    double nll = 0, prob = 0;
    for (PromptToken place : subject_places(request)) {
      const auto first = static_cast<std::int64_t>(place.ids.size()) - 1;
      place.ids = joined(place.ids, all_but_last(request.target));
      const at::Tensor log = written(place, true);
      double row = 0;
      for (size_t k = 0; k < request.target.size(); ++k)
        row -= log[first + static_cast<std::int64_t>(k)][request.target[k]].item<double>() /
               static_cast<double>(request.target.size());
      nll += row / static_cast<double>(request.contexts.size());
      prob += std::exp(-row) / static_cast<double>(request.contexts.size());
    }
    const PromptToken essence{request.essence, request.essence_subject_last};
    const at::Tensor now = written(essence, true)[essence.token],
                     first = written(essence, false)[essence.token];
    const double kl = some.kl_factor * (now.exp() * (now - first)).sum().item<double>();
    const EditStep& last = found[i].trace.back();
    EXPECT_EQ(found[i].trace.size(), 6U);
    EXPECT_NEAR(last.nll, nll, 1e-11 * (1 + nll));
    EXPECT_NEAR(last.kl, kl, 1e-11 * (1 + kl));
    EXPECT_NEAR(last.mean_prob, prob, 1e-11);
    EXPECT_NEAR(last.loss, last.nll + last.kl + last.decay, 1e-12 * (1 + last.loss));
  }
}

// Not even on one that is not a number.
TEST_P(Side, AFactThatIsNotANumberStaysAlone) {
  const std::vector<EditRequest> asked = requests();
  const EditSlot slot(*network_, added(), 1);
  EditedValue value = slot.edited();
  const std::vector<OptimisedValue> expected = optimise(*network_, value, asked, settings());
  value.clean = [&](const std::vector<PromptToken>& places) {
    at::Tensor outputs = slot.values(places).outputs;
    outputs.narrow(0, 0, 3).fill_(std::numeric_limits<double>::quiet_NaN());  // the first fact's
    return outputs;
  };
  const std::vector<OptimisedValue> found = optimise(*network_, value, asked, settings());
  EXPECT_TRUE(std::isnan(found[0].trace.back().loss));
  for (size_t i = 1; i < asked.size(); ++i)
    EXPECT_TRUE(at::equal(found[i].delta, expected[i].delta)) << i;
}

TEST_P(Side, MemitsValuesDoNotDependOnEachOther) {
  const std::vector<EditRequest> asked = requests();
  const MemitPlan plan{added(), {0, 1}, runs(12), 0.05, 0.02};
  for (const BlockShape& block : network_->architecture().blocks[0])
    if (block.norm_behind || block.norm_of_stream || block.scale != 1) {
      EXPECT_THROW(memit_edit(*network_, plan, asked, settings()), std::invalid_argument);
      return;
    }
  const MemitEdit together = memit_edit(*network_, plan, asked, settings());
  for (size_t i = 0; i < asked.size(); ++i) {
    const MemitEdit alone = memit_edit(*network_, plan, {asked[i]}, settings());
    const auto row = static_cast<std::int64_t>(i);
    EXPECT_LE(distance(together.z[row], alone.z[0]), 1e-12);
    EXPECT_LE(distance(together.steps[0].keys[row], alone.steps[0].keys[0]), 1e-12);
  }
}

TEST_P(Side, CovariancesAreThoseOfSinglePrompts) {
  const at::NoGradGuard no_graph;
  std::vector<MatrixAt> places;
  for (int layer = 0; layer < layers(); ++layer)
    for (const EditedMatrix matrix : matrices()) places.push_back({matrix, layer});
  const std::vector<std::vector<int>> some = runs(12);
  const std::vector<at::Tensor> found = key_covariances(*network_, places, some, 0.1);
  ASSERT_EQ(found.size(), places.size());
  for (size_t i = 0; i < places.size(); ++i) {
    const EditSlot slot(*network_, places[i].matrix, places[i].layer);
    std::vector<at::Tensor> keys;
    const SiteAt site = slot.key_site();
    for (const std::vector<int>& ids : some)
      keys.push_back(
          slot.keys_of(ReferenceForward(*network_).run(ids, {}, {&site, 1}).values.at(site)));
    const at::Tensor k = at::cat(keys), c = k.t().matmul(k) / k.size(0);
    const at::Tensor expected =
        0.9 * c + 0.1 * c.trace() / c.size(0) * at::eye(c.size(0), c.options());
    EXPECT_LE(distance(found[i], expected), 1e-12) << to_string(places[i].matrix);
    EXPECT_TRUE(at::equal(found[i], key_covariance(slot, some, 0.1)));
  }
}

TEST_P(Side, ContinuationsAreThoseOfSinglePrompts) {
  const at::NoGradGuard no_graph;
  const std::vector<EditRequest> asked = requests();
  std::vector<Continuation> all;
  for (const EditRequest& request : asked) {
    all.push_back({request.prompt, request.target});
    // One that is greedy, and one that is so but for its end.
    std::vector<int> greedy;
    for (int k = 0; k < 3; ++k)
      greedy.push_back(
          log_p(*network_, joined(request.prompt,
                                  greedy))[static_cast<std::int64_t>(request.prompt.size()) + k - 1]
              .argmax()
              .item<int>());
    all.push_back({request.prompt, greedy});
    greedy.back() = (greedy.back() + 1) % 29;
    all.push_back({request.prompt, greedy});
  }
  const auto compare = [&] {
    const std::vector<ContinuationOutcome> found = continuations(*network_, all);
    int exact = 0;
    for (size_t i = 0; i < all.size(); ++i) {
      const auto first = static_cast<std::int64_t>(all[i].prompt.size()) - 1;
      const at::Tensor log = log_p(*network_, joined(all[i].prompt, all_but_last(all[i].target)));
      double nll = 0;
      bool greedy = true;
      for (size_t k = 0; k < all[i].target.size(); ++k) {
        const at::Tensor at = log[first + static_cast<std::int64_t>(k)];
        nll -= at[all[i].target[k]].item<double>() / static_cast<double>(all[i].target.size());
        greedy = greedy && at.argmax().item<int>() == all[i].target[k];
      }
      EXPECT_NEAR(found[i].target_nll, nll, 1e-12 * (1 + nll));
      EXPECT_NEAR(found[i].log_first, log[first][all[i].target[0]].item<double>(),
                  1e-12 * (1 + nll));
      EXPECT_EQ(found[i].target_is_argmax, greedy) << i;
      exact += greedy ? 1 : 0;
    }
    return exact;
  };
  // With LongRoPE a continuation over the limit turns what came before it anew.
  EXPECT_GE(compare(), GetParam() == "phi3" ? 2 : 4);
  const RomeEdit edit = rome_edits(*network_, added(), 1, {&asked[0], 1}, {}, settings()).front();
  const double before = continuations(*network_, {all.data(), 1})[0].target_nll;
  const AppliedEdit applied(*network_, EditSlot(*network_, added(), 1), edit.delta());
  EXPECT_NE(continuations(*network_, {all.data(), 1})[0].target_nll, before);
  compare();
}

// Weights of a float32 file are its map, which cannot be written to; an engine that was there
// before sees the edit as well.
// Pairs of different lengths; what differs begins at different tokens.
std::vector<PromptPair> pairs_to_estimate() {
  std::vector<PromptPair> pairs;
  for (const std::vector<int>& ids : runs(4)) {
    PromptPair& pair = pairs.emplace_back(PromptPair{ids, ids, 5});
    const size_t at = 1 + pairs.size() % 3;
    pair.corrupted[at] = (ids[at] + 9) % 29;
  }
  return pairs;
}

// One graph through all layers and every site, by the materialised forward.
std::vector<at::Tensor> gradients_of_one(const Network& network, const PromptPair& pair,
                                         const std::vector<SiteAt>& places) {
  const ReferenceForward reference(network);
  const auto clean = reference.run(pair.clean, {}, places).values;
  const at::AutoGradMode graph(true);
  const ReferenceForward::Result run = reference.run(pair.corrupted, {}, places);
  std::vector<at::Tensor> values, estimates;
  for (const SiteAt at : places) values.push_back(run.values.at(at));
  const auto last = static_cast<std::int64_t>(pair.clean.size()) - 1;
  const auto gradients = torch::autograd::grad({run.logits[last].softmax(0)[pair.answer]}, values);
  for (size_t i = 0; i < places.size(); ++i)
    estimates.push_back(((clean.at(places[i]) - values[i].detach()) * gradients[i]).sum(1));
  return estimates;
}

TEST_P(Side, EstimatesOfEverySiteAreThoseOfSinglePrompts) {
  const std::vector<PromptPair> pairs = pairs_to_estimate();
  std::vector<Site> sites = network_->architecture().sites();
  std::erase(sites, Site::kNorm);
  const EstimateMaps gradient = gradient_maps(*network_, pairs, sites),
                     integrated = integrated_maps(*network_, pairs, sites, 2);
  double largest = 0;
  for (size_t i = 0; i < sites.size(); ++i) {
    SCOPED_TRACE(to_string(sites[i]));
    std::vector<SiteAt> places;
    for (int layer = 0; layer < layers() + (sites[i] == Site::kH ? 1 : 0); ++layer)
      places.push_back({sites[i], layer});
    for (size_t p = 0; p < pairs.size(); ++p) {
      EXPECT_LE(
          distance(gradient[i][p], at::stack(gradients_of_one(*network_, pairs[p], places), 1)),
          1e-9)
          << p;
      EXPECT_LE(
          distance(integrated[i][p], integrated_maps(*network_, {pairs[p]}, {sites[i]}, 2)[0][0]),
          1e-9)
          << p;
      EXPECT_EQ(integrated[i][p][0].abs().sum().item<double>(), 0) << "before what differs";
      largest = std::max(largest, integrated[i][p].abs().max().item<double>());
    }
  }
  EXPECT_GT(largest, 0);
}

TEST_P(Side, OneStepIsTheGradientInTheMiddleOfTheWay) {
  const PromptPair pair = pairs_to_estimate()[1];
  const SiteAt at{Site::kH, 1};
  const at::Tensor found = integrated_maps(*network_, {pair}, {Site::kH}, 1)[0][0];
  const ReferenceForward reference(*network_);
  const at::Tensor from = reference.run(pair.corrupted, {}, {&at, 1}).values.at(at),
                   to = reference.run(pair.clean, {}, {&at, 1}).values.at(at);
  const auto last = static_cast<std::int64_t>(pair.clean.size()) - 1;
  for (int token = 2; token <= last; ++token) {
    const at::AutoGradMode graph(true);
    const at::Tensor value = ((from[token] + to[token]) / 2).detach().requires_grad_(true);
    const TensorWrite write{at, token, value};
    const at::Tensor p =
        reference.run(pair.corrupted, {}, {}, {&write, 1}).logits[last].softmax(0)[pair.answer];
    const double expected =
        torch::autograd::grad({p}, {value})[0].dot((to - from)[token]).item<double>();
    EXPECT_NEAR(found[token][1].item<double>(), expected, 1e-9 * std::abs(expected) + 1e-14);
  }
}

TEST_P(Side, AnEditInFp32ReachesTheEngineAndIsUndoneToTheBit) {
  const auto network = random_network(GetParam(), 1, Precision::kFp32);
  const std::vector<EditRequest> asked = requests();
  ReplayEngine engine(*network);
  const std::vector<ReplayRequest> replays = {{asked[0].prompt, asked[0].target[0]},
                                              {asked[1].prompt, asked[1].target[0]}};
  const auto answers = [&] {
    std::vector<double> log;
    for (const ReplayResult& result : engine.run(replays))
      log.push_back(result.clean.log_probability);
    return log;
  };
  const std::vector<double> before = answers();
  for (const EditedMatrix matrix : matrices()) {
    SCOPED_TRACE(to_string(matrix));
    const EditSlot slot(*network, matrix, 1);
    const at::Tensor weight = slot.weight(), kept = weight.clone();
    {
      const RomeEdit edit =
          rome_edits(*network, matrix, 1, {asked.data(), 1}, {}, settings()).front();
      const AppliedEdit applied(*network, slot, edit.delta()),
          twice(*network, slot, -0.5 * edit.delta());
      EXPECT_FALSE(at::equal(weight, kept));
      EXPECT_LE(distance(weight, kept + 0.5 * edit.delta()), 1e-6);
      const std::vector<double> edited = answers();
      EXPECT_NE(edited[0], before[0]);
      for (size_t i = 0; i < edited.size(); ++i) {
        const Continuation one{asked[i].prompt, {asked[i].target[0]}};
        EXPECT_NEAR(edited[i], continuations(*network, {&one, 1})[0].log_first, 2e-2);
      }
    }
    EXPECT_TRUE(at::equal(weight, kept));
    EXPECT_EQ(answers(), before);
  }
}

// The model in fp64 with every weight moved to a neighbouring float32.
std::unique_ptr<Network> nudged_network(const std::string& name, unsigned nudge) {
  const TemporaryDirectory directory;
  auto tensors = random_tensors(small_config(name), 1);
  move_to_neighbours(tensors, nudge);
  write_checkpoint(directory.path(), small_config(name), tensors);
  return Network::load(
      std::make_shared<const Checkpoint>(Checkpoint::open(directory.path().string())), at::kCPU,
      Precision::kFp64);
}

// Relative; docs/locate.md has what was measured. A gradient may be as far off as what its model
// makes of rounded weights, which Zamba2's shared blocks in a row make much of.
TEST_P(Side, Fp32IsCloseToFp64) {
  const auto rough = random_network(GetParam(), 1, Precision::kFp32);
  std::vector<std::unique_ptr<Network>> neighbours;
  for (unsigned nudge = 1; nudge <= 3; ++nudge)
    neighbours.push_back(nudged_network(GetParam(), nudge));
  const std::vector<EditRequest> asked = requests();
  double first = 0, deltas = 0, directions = 0, covariance = 0, noise = 0;
  int compared = 0;
  for (const EditedMatrix matrix : matrices()) {
    const at::Tensor c = key_covariance(EditSlot(*network_, matrix, 1), runs(12), 0.05),
                     c32 = key_covariance(EditSlot(*rough, matrix, 1), runs(12), 0.05);
    ASSERT_EQ(c32.scalar_type(), at::kDouble);
    covariance = std::max(covariance, distance(c32, c));
    const std::vector<RomeEdit> edits = rome_edits(*network_, matrix, 1, asked, c, settings()),
                                found = rome_edits(*rough, matrix, 1, asked, c32, settings());
    std::vector<std::vector<RomeEdit>> nudged;
    for (const auto& network : neighbours)
      nudged.push_back(rome_edits(*network, matrix, 1, asked, c, settings()));
    for (size_t i = 0; i < asked.size(); ++i) {
      ASSERT_EQ(found[i].delta().scalar_type(), at::kDouble);
      directions = std::max(directions, distance(found[i].u, edits[i].u));
      // Beyond a sliding window nothing depends on the subject, and what is left is rounding.
      if (edits[i].first_gradient.norm().item<double>() < 1e-9) continue;
      ++compared;
      first = std::max(first, distance(found[i].first_gradient, edits[i].first_gradient));
      for (const std::vector<RomeEdit>& other : nudged)
        noise = std::max(noise, distance(other[i].first_gradient, edits[i].first_gradient));
      deltas =
          std::max(deltas, distance(found[i].v_star - found[i].v0, edits[i].v_star - edits[i].v0));
    }
  }
  std::cout << "| " << GetParam() << " | " << covariance << " | " << directions << " | " << first
            << " | " << deltas << " | " << noise << " |\n";
  EXPECT_GE(compared, 2);
  EXPECT_LE(covariance, 1e-5);
  EXPECT_LE(directions, 2e-5);
  EXPECT_LE(first, std::max(2e-5, 8 * noise));
  EXPECT_LE(deltas, 1e-2);
}

INSTANTIATE_TEST_SUITE_P(Families, Side,
                         testing::Values("gpt2", "llama", "mistral", "qwen2", "gpt_neox", "mamba",
                                         "falcon_mamba", "mamba2", "mamba_ssm", "mamba_ssm2"),
                         [](const auto& test) { return test.param; });
// Whose layers are alike: two branches in each, and those that carry more than the stream.
INSTANTIATE_TEST_SUITE_P(Hybrids, Side, testing::Values("falcon_h1", "rwkv7", "zamba2_shared"),
                         [](const auto& test) { return test.param; });
INSTANTIATE_TEST_SUITE_P(Decoders, Side, testing::ValuesIn(small_decoders()),
                         [](const auto& test) { return test.param; });

TEST(RowBatches, AreFullAndInOrderOfLength) {
  std::vector<std::int64_t> lengths(300, 10);
  lengths[7] = 5000;
  lengths[9] = 12;
  const std::vector<std::vector<size_t>> batches = row_batches(lengths, Architecture());
  ASSERT_EQ(batches.size(), 3U);
  EXPECT_THAT(batches[0], testing::ElementsAre(7));
  EXPECT_EQ(batches[1].front(), 9U);
  EXPECT_EQ(batches[1].size(), static_cast<size_t>(kTokensAtOnce / 12));
  std::vector<size_t> all;
  for (const std::vector<size_t>& batch : batches) {
    EXPECT_TRUE(std::is_sorted(batch.begin() + 1, batch.end()));
    all.insert(all.end(), batch.begin(), batch.end());
  }
  std::sort(all.begin(), all.end());
  std::vector<size_t> expected(lengths.size());
  std::iota(expected.begin(), expected.end(), size_t{0});
  EXPECT_EQ(all, expected);
  EXPECT_TRUE(row_batches({}, Architecture()).empty());
}

// LongRoPE turns whole prompts by their length.
TEST(RowBatches, DoNotMixRowsThatTurnDifferently) {
  const auto network = random_network("phi3", 1, Precision::kFp64);
  const std::vector<std::vector<size_t>> batches =
      row_batches({5, 9, 6, 7}, network->architecture());
  EXPECT_THAT(batches,
              testing::ElementsAre(testing::ElementsAre(1, 3, 2), testing::ElementsAre(0)));
  EXPECT_THROW(ReferenceRows(*network).embedded({{1, 2}, {1, 2, 3, 4, 5, 6, 7}}),
               std::invalid_argument);
}

// More than one batch: what is added up over them is what is added up over parts.
TEST(RowBatches, AddUp) {
  set_threads(1, 1);
  const auto network = random_network("mamba", 1, Precision::kFp64);
  const std::vector<std::vector<int>> all = runs(400);
  std::vector<std::int64_t> lengths;
  for (const std::vector<int>& ids : all) lengths.push_back(static_cast<std::int64_t>(ids.size()));
  ASSERT_GT(row_batches(lengths, network->architecture()).size(), 1U);
  const EditSlot slot(*network, EditedMatrix::kWo, 1);
  at::Tensor sum = at::zeros({70, 70}, at::kDouble);
  std::int64_t tokens = 0;
  for (size_t begin = 0; begin < all.size(); begin += 100) {
    const std::vector<std::vector<int>> part(
        all.begin() + static_cast<std::ptrdiff_t>(begin),
        all.begin() + static_cast<std::ptrdiff_t>(begin) + 100);
    const std::int64_t count = std::accumulate(
        lengths.begin() + static_cast<std::ptrdiff_t>(begin),
        lengths.begin() + static_cast<std::ptrdiff_t>(begin) + 100, std::int64_t{0});
    sum = sum + count * key_covariance(slot, part, 0);
    tokens += count;
  }
  EXPECT_LE(distance(key_covariance(slot, all, 0), sum / tokens), 1e-13);
}

template <class Action>
void refused(Action action, const char* words) {
  EXPECT_THAT(action, testing::ThrowsMessage<std::invalid_argument>(testing::HasSubstr(words)));
}

TEST(SideBySide, WhatCannotBeIsRefused) {
  const auto network = random_network("gpt2", 1, Precision::kFp64);
  const auto judged = [&](std::vector<int> prompt, std::vector<int> target) {
    return [&network, prompt = std::move(prompt), target = std::move(target)] {
      const Continuation one{prompt, target};
      continuations(*network, {&one, 1});
    };
  };
  refused(judged({}, {1}), "an empty prompt");
  refused(judged({1}, {}), "an empty continuation");
  const int vocabulary = network->architecture().vocabulary;
  refused(judged({1}, {vocabulary}), "of a vocabulary of");
  refused(judged({-1}, {1}), "of a vocabulary of");
  EditRequest wrong = requests()[0];
  wrong.target = {-1};
  refused(
      [&] {
        rome_edits(*network, EditedMatrix::kWdown, 1, {&wrong, 1}, {}, settings());
      },
      "token -1 of a vocabulary of");
  const SiteAt at{Site::kY, 1};
  const PromptToken place{{1, 2}, 1}, outside{{1, 2}, 2};
  const ReferenceRows forward(*network);
  refused([&] { forward.values_at({&place, 1}, {&at, 1}); }, "gpt2 has no site y");
  refused([&] { forward.values_at({&outside, 1}, {}); }, "token 2 of a prompt of 2");
  refused(
      [&] {
        forward.top(forward.embedded({{1, 2}}),
                    {{Site::kH, 0}, at::tensor({1}, at::kLong), at::zeros({1, 3}, at::kDouble)});
      },
      "a tensor of 3 numbers for site h");
}

TEST(SideBySide, AKeyThatTheOthersDetermineIsRefused) {
  const auto network = random_network("gpt2", 1, Precision::kFp64);
  const EditSlot slot(*network, EditedMatrix::kWdown, 1);
  // Fewer tokens than the key has numbers.
  const std::vector<std::vector<int>> few = {{3, 11, 7}};
  const std::vector<EditRequest> asked = requests();
  const auto edited = [&](double shrinkage) {
    rome_edits(*network, EditedMatrix::kWdown, 1, {asked.data(), 1},
               key_covariance(slot, few, shrinkage), settings());
  };
  const std::string message = input_error_of([&] { edited(0); });
  EXPECT_THAT(message, testing::HasSubstr("linearly dependent"));
  EXPECT_THAT(message, testing::HasSubstr("raise its shrinkage or its number of tokens"));
  edited(0.05);
  const at::Tensor c = key_covariance(slot, few, 0.05), b = direction(at::zeros({c.size(0), 2}));
  EXPECT_LE(distance(c.matmul(solved(c, b)), b), 1e-12);
}

TEST(SideBySide, RoundedAndSplitWeightsAreRefused) {
  EXPECT_THAT(input_error_of([] { check_edit_precision(Precision::kBf16); }),
              testing::HasSubstr("edits are computed in fp64, fp32 or tf32, and the model is in "
                                 "bf16, where weights are rounded"));
  EXPECT_THAT(input_error_of([] { check_edit_precision(Precision::kTf32x3); }),
              testing::HasSubstr("in tf32x3, where weights are split"));
  for (const Precision precision : {Precision::kFp64, Precision::kFp32, Precision::kTf32})
    EXPECT_NO_THROW(check_edit_precision(precision));
}

}  // namespace
}  // namespace factflow
