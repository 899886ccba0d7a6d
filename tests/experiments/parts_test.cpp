// The kind `parts`: divisions are disjoint and whole, parts and several of them together are what
// the reference forward says, and the order is that of the single effects.
#include "experiments/parts/parts.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <set>
#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiments/drawn_prompts.hpp"
#include "experiments/parts/division.hpp"
#include "experiments/parts/part_name.hpp"
#include "experiments/sweep/sweep.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "model/network.hpp"
#include "model/replay/replay_plan.hpp"
#include "tests/experiments/demo_facts.hpp"

namespace factflow {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr double kClose = 1e-5;  // stored numbers are float32

// ---- divisions

std::string problem_of(const std::string& division) {
  try {
    parse_division(division);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(Divisions, AreCalledByWhatTheyAre) {
  for (const char* name :
       {"each head", "each quantile of 12", "each quantile of 12 by exp(A dt)",
        "each random of 8 seed 3", "each random of 8 seed 0", "each group of 64"})
    EXPECT_EQ(to_string(parse_division(name)), name);
  EXPECT_EQ(to_string(parse_division("each random of 8")), "each random of 8 seed 1");
  for (const char* wrong :
       {"each", "each channel", "each quantile of 1", "each quantile of x",
        "each quantile of 8 by dt", "each random of 8 by exp(A dt)", "each group of 8 seed 1",
        "each random of 8 seed -1", "each random of 8 seed", "each random of", "quantile 1/8"})
    EXPECT_THAT(problem_of(wrong), HasSubstr("expected each head, each quantile of K")) << wrong;
}

// Of a decay ranking with ties, and of counts that K does not divide.
std::vector<std::vector<int>> members_of(const Division& division, const Divisible& among) {
  std::vector<double> norms;
  for (int i = 0; i < among.count; ++i) norms.push_back((i * 7) % 5);
  std::vector<std::vector<int>> members;
  for (const EdgePart& part : parts_of(division, among)) {
    members.push_back(part.indices);
    if (!part.indices.empty()) continue;
    const std::vector<bool> loses = channels_of(part.set, norms);
    for (int i = 0; i < among.count; ++i)
      if (loses[static_cast<size_t>(i)]) members.back().push_back(i);
  }
  return members;
}

TEST(Divisions, AreDisjointAndCoverEverything) {
  for (const int count : {2, 7, 8, 30, 257})
    for (const int slices : {2, 3, 7, 8})
      for (const Division::Kind kind : {Division::Kind::kQuantile, Division::Kind::kRandom,
                                        Division::Kind::kGroup, Division::Kind::kHead}) {
        if (slices > count) continue;
        const Division division{kind, slices, 5};
        std::vector<int> all;
        size_t smallest = 1000, largest = 0;
        for (const std::vector<int>& part : members_of(division, {PartOf::kHeads, count, true})) {
          all.insert(all.end(), part.begin(), part.end());
          smallest = std::min(smallest, part.size());
          largest = std::max(largest, part.size());
        }
        std::sort(all.begin(), all.end());
        std::vector<int> expected(static_cast<size_t>(count));
        std::iota(expected.begin(), expected.end(), 0);
        EXPECT_EQ(all, expected) << to_string(division) << " " << count;
        EXPECT_LE(largest, smallest + 1);
        EXPECT_GE(smallest, 1U);
      }
}

TEST(Divisions, GroupsAreNeighboursAndRandomSlicesAreDrawnByTheSeed) {
  const Divisible among{PartOf::kChannels, 9, true};
  EXPECT_THAT(members_of({Division::Kind::kGroup, 2, 0}, among),
              ElementsAre(ElementsAre(0, 1, 2, 3), ElementsAre(4, 5, 6, 7, 8)));
  const auto drawn = [&](std::uint64_t seed) {
    return members_of({Division::Kind::kRandom, 3, seed}, among);
  };
  EXPECT_EQ(drawn(1), drawn(1));
  EXPECT_NE(drawn(1), drawn(2));
  EXPECT_EQ(parts_of({Division::Kind::kRandom, 3, 4}, among)[1].name, "random 2/3 seed 4");
  EXPECT_EQ(parts_of({Division::Kind::kQuantile, 3, 0}, among)[1].name, "quantile 2/3");
}

TEST(Divisions, OfWhatIsNotThereAreRefused) {
  EXPECT_THROW(parts_of({}, {PartOf::kChannels, 9, true}), std::invalid_argument);
  EXPECT_THROW(parts_of({Division::Kind::kQuantile, 2, 0}, {PartOf::kHeads, 9, false}),
               std::invalid_argument);
  EXPECT_THROW(parts_of({Division::Kind::kGroup, 10, 0}, {PartOf::kHeads, 9, false}),
               std::invalid_argument);
}

TEST(Divisions, HavePartsThatSweepsNameOneByOne) {
  for (const char* name : {"random 2/3 seed 4", "group 1/8", "head 0", "head 11"})
    EXPECT_EQ(to_string(parse_part_name(name)), name);
  EXPECT_EQ(to_string(parse_part_name("random 2/3")), "random 2/3 seed 1");
  for (const char* wrong : {"random 0/3", "random 4/3", "group 1/1", "group 1/3 seed 2", "head",
                            "head -1", "head 1 2", "quantile 1/3", "random", "group 1", ""})
    EXPECT_THROW(parse_part_name(wrong), InputError) << wrong;
  const Divisible heads{PartOf::kHeads, 8, true}, channels{PartOf::kChannels, 9, true};
  EXPECT_THAT(part_called(parse_part_name("head 3"), heads)->indices, ElementsAre(3));
  EXPECT_FALSE(part_called(parse_part_name("head 3"), channels));
  EXPECT_EQ(part_called(parse_part_name("random 2/3 seed 4"), channels)->indices,
            parts_of({Division::Kind::kRandom, 3, 4}, channels)[1].indices);
  EXPECT_THROW(part_called(parse_part_name("head 8"), heads), std::invalid_argument);
  EXPECT_THROW(part_called(parse_part_name("group 1/10"), channels), std::invalid_argument);
}

// ---- the kind

// A sweep's single parts are those of the divisions.
class SweepParts : public DemoFacts {
 protected:
  SweepParts() : DemoFacts(sweep_kind()) {}
};

TEST_P(SweepParts, AreWhatTheReferenceForwardSays) {
  const bool channels = GetParam() == "mamba";
  compute(
      plan("{windows: {sizes: 3}, knockouts: {from: subject, to: last, parts: [random 2/3 seed "
           "4, group 1/2, head 1]}}"));
  const Divisible among = divisible_of(model_->network().architecture());
  const auto& items = axis<std::string>("knockout", "edge");
  ASSERT_THAT(items, SizeIs(channels ? 3 : 4));
  EXPECT_EQ(items[1], "subject->last/random 2/3 seed 4");
  const TokenizedPrompt prompt = tokens_of(2);
  const size_t starts = static_cast<size_t>(layers() - 2);
  const int start = 4;
  const auto& stored = array<float>("knockout/window_3", "probability");
  for (size_t item = 1; item < items.size(); ++item) {
    const auto part = part_called(
        parse_part_name(items[item].substr(std::string("subject->last/").size())), among);
    ASSERT_TRUE(part);
    std::vector<Intervention> lost =
        losing({&*part}, among.what, {static_cast<int>(prompt.ids.size()) - 1}, prompt.subject);
    std::get<Block>(lost.at(0)).layers = {start, start + 1, start + 2};
    EXPECT_NEAR(stored.at((item * prompts_.size() + 2) * starts + static_cast<size_t>(start)),
                probability(prompt.ids, prompt.answer, lost), kClose)
        << items[item];
  }
  EXPECT_THAT(refused("{windows: {sizes: 3}, knockouts: {from: subject, to: last, parts: group "
                      "1/999}}"),
              HasSubstr("key sweep.knockouts.parts: model any has no group 1/999"));
}

INSTANTIATE_TEST_SUITE_P(Models, SweepParts, ::testing::Values("gpt2", "mamba", "mamba2"),
                         [](const auto& test) { return test.param; });

class Parts : public DemoFacts {
 protected:
  Parts() : DemoFacts(parts_kind()) {}

  bool transformer() const { return GetParam() == "gpt2" || GetParam() == "llama"; }
  bool has_heads() const { return transformer() || GetParam() == "mamba2"; }
  PartOf what() const { return has_heads() ? PartOf::kHeads : PartOf::kChannels; }
  // Every way in which this model can be divided.
  std::string divisions() const {
    if (transformer()) return "[each head, each random of 2, each group of 2]";
    if (has_heads()) return "[each head, each quantile of 3, each random of 3, each group of 3]";
    return "[each quantile of 3, each random of 3 seed 4, each group of 3]";
  }
  std::vector<EdgePart> parts(const std::string& division) const {
    return parts_of(parse_division(division), divisible_of(model_->network().architecture()));
  }
  // ln p without these parts of subject -> last in a window, by whole forwards.
  double reference(const TokenizedPrompt& prompt, const std::vector<const EdgePart*>& lost,
                   int start, int size) const {
    const int last = static_cast<int>(prompt.ids.size()) - 1;
    std::vector<Intervention> together = losing(lost, what(), {last}, prompt.subject);
    for (Intervention& one : together)
      for (int layer = start; layer < start + size; ++layer)
        std::get<Block>(one).layers.push_back(layer);
    return std::log(probability(prompt.ids, prompt.answer, together));
  }
  double stored(const std::string& item, size_t fact, int start, int size) const {
    const std::string path = "parts/window_" + std::to_string(size);
    const auto& items = axis<std::string>(path, "part");
    const auto place =
        static_cast<size_t>(std::find(items.begin(), items.end(), item) - items.begin());
    const size_t starts = static_cast<size_t>(layers() - size + 1);
    return static_cast<double>(
        array<float>(path, "log_change")
            .at((place * prompts_.size() + fact) * starts + static_cast<size_t>(start)));
  }
};

TEST_P(Parts, AreWhatTheReferenceForwardSays) {
  compute(plan("{windows: {sizes: [1, 4]}, channels: " + divisions() + "}"));
  const TokenizedPrompt prompt = tokens_of(1);
  const double clean = std::log(probability(prompt.ids, prompt.answer));
  const EdgePart whole;
  for (const int size : {1, 4}) {
    EXPECT_NEAR(stored("subject->last", 1, 5, size), reference(prompt, {&whole}, 5, size) - clean,
                kClose);
    for (const char* division :
         {"each head", "each quantile of 3", "each random of 3", "each random of 3 seed 4",
          "each random of 2", "each group of 3", "each group of 2"}) {
      if (divisions().find(std::string(division) + ",") == std::string::npos &&
          divisions().find(std::string(division) + "]") == std::string::npos)
        continue;
      for (const EdgePart& part : parts(division))
        EXPECT_NEAR(stored("subject->last/" + part.name, 1, 5, size),
                    reference(prompt, {&part}, 5, size) - clean, kClose)
            << part.name << " " << size;
    }
  }
}

// What is left of a layer's state from the token before, in plain operations on the checkpoint's
// own tensors: [tokens, channels or heads].
class DecayByHand {
 public:
  DecayByHand(const std::string& family, const Network& network)
      : family_(family),
        network_(network),
        checkpoint_(Checkpoint::open(source_dir() + "/demo/models/" + family)) {}

  at::Tensor left(const std::vector<int>& ids, int layer) const {
    const SiteAt at{family_ == "mamba2" ? Site::kH : Site::kConv, layer};
    const at::Tensor x = ReferenceForward(network_).run(ids, {}, {{at}}).values.at(at);
    const std::string of = "backbone.layers." + std::to_string(layer) + ".";
    const at::Tensor a = -tensor(of + "mixer.A_log").exp();
    if (family_ == "mamba2") {
      const at::Tensor in = tensor(of + "mixer.in_proj.weight");
      const at::Tensor raw = (normalised(x, 1e-5) * tensor(of + "norm.weight"))
                                 .matmul(in.narrow(0, in.size(0) - a.size(0), a.size(0)).t());
      return (at::softplus(raw + tensor(of + "mixer.dt_bias")) * a).exp();
    }
    const at::Tensor to_dt = tensor(of + "mixer.dt_proj.weight");
    at::Tensor low = x.matmul(tensor(of + "mixer.x_proj.weight").t()).narrow(1, 0, to_dt.size(1));
    if (family_ == "falcon_mamba") low = normalised(low, 1e-6);
    const at::Tensor dt = at::softplus(low.matmul(to_dt.t()) + tensor(of + "mixer.dt_proj.bias"));
    return (dt.unsqueeze(2) * a).exp().sum(2);
  }

 private:
  static at::Tensor normalised(const at::Tensor& x, double epsilon) {
    return x * (x.square().mean(1, true) + epsilon).rsqrt();
  }
  at::Tensor tensor(const std::string& name) const {
    const StoredTensor& stored = checkpoint_.tensors().at(name);
    at::Tensor copy = at::empty(stored.shape, at::kHalf);
    EXPECT_EQ(stored.bytes.size(), copy.nbytes()) << "the demo's models are float16";
    std::memcpy(copy.data_ptr(), stored.bytes.data(), stored.bytes.size());
    return copy.to(at::kDouble);
  }

  std::string family_;
  const Network& network_;
  Checkpoint checkpoint_;
};

TEST_P(Parts, ByTheDecayThatHappensAreWhatTheReferenceForwardSays) {
  const char* const section =
      "{windows: {sizes: [1, 4]}, channels: each quantile of 3 by exp(A dt), ranking: {prompts: 3, "
      "seed: 2}, cumulate: {prompts: 2}}";
  if (transformer()) {
    EXPECT_THAT(plan(section).skipped,
                ElementsAre("subject->last/each quantile of 3 by exp(A dt)"));
    return;
  }
  compute(plan(section));
  const DecayByHand by_hand(GetParam(), model_->network());
  std::vector<at::Tensor> means;  // [layer][channel]
  for (int layer = 0; layer < layers(); ++layer) {
    std::vector<at::Tensor> left;
    for (const Prompt& prompt : drawn_prompts(prompts_, 3, 2)) {
      const std::vector<int> ids = model_->tokenize_usable({prompt}).at(0).ids;
      const at::Tensor all = by_hand.left(ids, layer);
      left.push_back(all.narrow(0, 1, all.size(0) - 1));  // the first token finds no state
    }
    means.push_back(at::cat(left).mean(0));
  }
  const auto channels = static_cast<size_t>(means[0].size(0));
  const auto& stored_decay = array<float>("parts/ranking", "decay");
  ASSERT_EQ(stored_decay.size(), means.size() * channels);
  for (size_t layer = 0; layer < means.size(); ++layer)
    for (size_t channel = 0; channel < channels; ++channel) {
      const double expected = means[layer][static_cast<std::int64_t>(channel)].item<double>();
      ASSERT_NEAR(stored_decay[layer * channels + channel], expected, 2e-6 * (1 + expected))
          << layer << " " << channel;
    }

  // Slices by the stored numbers, largest first: the edge's losses of every layer of a window.
  const TokenizedPrompt prompt = tokens_of(1);
  const double clean = std::log(probability(prompt.ids, prompt.answer));
  for (const int size : {1, 4})
    for (size_t k = 1; k <= 3; ++k) {
      std::vector<Intervention> together;
      for (size_t layer = 5; layer < 5 + static_cast<size_t>(size); ++layer) {
        std::vector<int> order(channels);
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
          return stored_decay[layer * channels + static_cast<size_t>(a)] >
                 stored_decay[layer * channels + static_cast<size_t>(b)];
        });
        std::vector<int> lost(order.begin() + static_cast<std::ptrdiff_t>(channels * (k - 1) / 3),
                              order.begin() + static_cast<std::ptrdiff_t>(channels * k / 3));
        std::sort(lost.begin(), lost.end());
        Block block;
        block.layers = {static_cast<int>(layer)};
        block.targets = {static_cast<int>(prompt.ids.size()) - 1};
        block.sources = prompt.subject;
        if (has_heads())
          block.selection = Heads{lost};
        else
          block.selection = Channels{lost};
        together.emplace_back(block);
      }
      EXPECT_NEAR(
          stored("subject->last/quantile " + std::to_string(k) + "/3 by exp(A dt)", 1, 5, size),
          std::log(probability(prompt.ids, prompt.answer, together)) - clean, kClose)
          << k << " " << size;
    }

  // All slices together are the whole edge.
  const auto& order = array<std::string>("parts/cumulated_0", "part");
  ASSERT_THAT(order, SizeIs(6));
  std::map<std::string, std::variant<std::int64_t, double, std::string>> said(
      group("parts/cumulated_0").attributes.begin(), group("parts/cumulated_0").attributes.end());
  const int start = static_cast<int>(std::get<std::int64_t>(said["start"]));
  EXPECT_NEAR(array<float>("parts/cumulated_0", "log_change")[2 * prompts_.size() + 1],
              stored("subject->last", 1, start, 1), kClose);
}

TEST_P(Parts, CumulateInTheOrderOfTheirSingleEffects) {
  const std::string division = has_heads() ? "each head" : "each quantile of 5";
  compute(
      plan("{windows: {sizes: 3}, channels: " + division + ", cumulate: {prompts: 5, seed: 2}}"));
  const ArrayGroup& cumulated = group("parts/cumulated_0");
  std::map<std::string, std::variant<std::int64_t, double, std::string>> said(
      cumulated.attributes.begin(), cumulated.attributes.end());
  EXPECT_EQ(std::get<std::string>(said["division"]), division);
  const int start = static_cast<int>(std::get<std::int64_t>(said["start"]));
  const auto& order = array<std::string>("parts/cumulated_0", "part");
  const std::vector<EdgePart> all = parts(division);
  ASSERT_THAT(order, SizeIs(2 * all.size()));

  // The ordering prompts are among the eight: their stored single effects say the same.
  std::vector<size_t> ordering;
  for (const Prompt& prompt : drawn_prompts(prompts_, 5, 2))
    for (size_t fact = 0; fact < prompts_.size(); ++fact)
      if (prompts_[fact].id == prompt.id) ordering.push_back(fact);
  std::vector<size_t> right;
  for (const size_t fact : ordering) {
    const TokenizedPrompt prompt = tokens_of(fact);
    const at::Tensor log = ReferenceForward(model_->network()).log_probabilities(prompt.ids, {});
    if (log.argmax().item<std::int64_t>() == prompt.answer) right.push_back(fact);
  }
  if (right.empty()) right = ordering;
  EXPECT_EQ(std::get<std::int64_t>(said["ordered_by"]), static_cast<std::int64_t>(right.size()));
  const auto effect = [&](const std::string& item, int at) {
    double sum = 0;
    for (const size_t fact : right) sum += stored(item, fact, at, 3);
    return sum;
  };
  for (int at = 0; at + 3 <= layers(); ++at)
    EXPECT_GE(effect("subject->last", at), effect("subject->last", start) - kClose);
  for (size_t step = 1; step < all.size(); ++step)
    EXPECT_LE(effect(order[step - 1], start), effect(order[step], start) + kClose);
  EXPECT_EQ(std::set<std::string>(order.begin(), order.begin() + all.size()),
            std::set<std::string>(order.begin() + all.size(), order.end()));

  const TokenizedPrompt prompt = tokens_of(2);
  const double clean = std::log(probability(prompt.ids, prompt.answer));
  const auto& log_change = array<float>("parts/cumulated_0", "log_change");
  for (size_t of = 0; of < 2; ++of) {
    std::vector<const EdgePart*> lost;
    for (size_t step = 0; step < all.size(); ++step) {
      const std::string& name = order[of * all.size() + step];
      for (const EdgePart& part : all)
        if (name == "subject->last/" + part.name) lost.push_back(&part);
      ASSERT_THAT(lost, SizeIs(step + 1)) << name;
      EXPECT_NEAR(log_change[(of * all.size() + step) * prompts_.size() + 2],
                  reference(prompt, lost, start, 3) - clean, kClose)
          << of << " " << step;
    }
    EXPECT_NEAR(log_change[(of * all.size() + all.size() - 1) * prompts_.size() + 2],
                stored("subject->last", 2, start, 3), kClose)
        << "all together are the whole edge";
  }
}

// Rows that differ in what loses the edge are born where their window begins and never climb the
// layers below; those that differ in the window's end share their layers until the shorter one
// ends.
TEST_P(Parts, OfOneEdgeCostAsManyRowsAsTheyAre) {
  const PlannedWork one = plan("{windows: {sizes: 4}, channels: each group of 2}"),
                    both = plan("{windows: {sizes: [2, 4]}, channels: each group of 2}");
  const Architecture& architecture = model_->network().architecture();
  const MixerTraits traits{architecture.layers, architecture.channels(),
                           architecture.keeps_states(), architecture.taps(), !transformer()};
  const TokenizedPrompt prompt = tokens_of(0);
  const auto cost = [&](const PlannedWork& planned) {
    const ReplayRequest request = planned.work->request(planned.asked[0], prompt, {});
    return column_layers(plan_replay({&request, 1}, traits));
  };
  const auto clean = static_cast<std::int64_t>(prompt.ids.size()) * layers();
  std::int64_t rows = 0;
  for (int start = 0; start + 4 <= layers(); ++start) rows += layers() - start;
  EXPECT_EQ(cost(one), clean + 3 * rows);
  // A window of 2 leaves the trajectory of 4 where it ends; two starts have it alone.
  std::int64_t shorter = 0;
  for (int start = 0; start + 2 <= layers(); ++start)
    shorter += start + 4 <= layers() ? layers() - start - 2 : layers() - start;
  EXPECT_EQ(cost(both), clean + 3 * (rows + shorter));
}

TEST_P(Parts, RefuseDivisionsThatNoModelHas) {
  const std::string heads = "{windows: {sizes: 2}, channels: [each group of 2, each head]}",
                    decay = "{windows: {sizes: 2}, channels: each quantile of 2}";
  if (transformer())
    EXPECT_THAT(refused_for_all(decay),
                HasSubstr("key parts.channels: each quantile of 2 knocks nothing out"));
  else
    EXPECT_EQ(refused_for_all(decay), "");
  if (transformer() || has_heads())
    EXPECT_EQ(refused_for_all(heads), "");
  else
    EXPECT_THAT(refused_for_all(heads), HasSubstr("key parts.channels: each head"));
}

TEST_P(Parts, PassOverWhatTheModelCannotHaveAndRefuseWhatIsTooMuch) {
  const PlannedWork planned =
      plan("{windows: {sizes: 2}, channels: [each head, each quantile of 2, each group of 2]}");
  if (transformer())
    EXPECT_THAT(planned.skipped, ElementsAre("subject->last/each quantile of 2"));
  else if (has_heads())
    EXPECT_THAT(planned.skipped, IsEmpty());
  else
    EXPECT_THAT(planned.skipped, ElementsAre("subject->last/each head"));
  // The usual number of ranking prompts is more than the eight that there are.
  EXPECT_EQ(refused("{windows: {sizes: 2}, channels: each quantile of 2 by exp(A dt)}"), "");
  EXPECT_THAT(refused("{windows: {sizes: 2}, channels: each group of 999}"),
              HasSubstr("x.yaml: key parts.channels: model any cannot be divided into each group "
                        "of 999"));
  EXPECT_THAT(refused("{windows: {sizes: 2}}"), HasSubstr("channels"));
  EXPECT_THAT(refused("{windows: {sizes: 99}, channels: each group of 2}"),
              HasSubstr("key parts.windows.sizes"));
  EXPECT_THAT(refused("{windows: {sizes: 2}, channels: slow}"), HasSubstr("expected each head"));
  EXPECT_THAT(refused("{windows: {sizes: 2}, channels: each group of 2, from: each}"),
              HasSubstr("for heatmaps only"));
  EXPECT_THAT(refused("{windows: {sizes: 2}, channels: each group of 2, cumulate: {prompts: 9}}"),
              HasSubstr("key parts.cumulate.prompts: the dataset has only 8 prompts"));
  EXPECT_THAT(refused("{windows: {sizes: 2}, channels: each group of 2, ranking: {prompts: 2}}"),
              HasSubstr("key parts.ranking: no division of the entry is by exp(A dt)"));
  EXPECT_THAT(refused("[{windows: {sizes: 2}, channels: each group of 2, cumulate: {prompts: 2}}, "
                      "{windows: {sizes: 2}, channels: each group of 2, cumulate: {prompts: 3}}]"),
              HasSubstr("other ordering prompts"));
}

TEST_P(Parts, AreWrittenAsTheyAreRead) {
  const Entries entries = entries_in(
      "{from: [subject, first], to: last, windows: {sizes: [1, 9]}, channels: [each head, each "
      "random of 3, each quantile of 2 by exp(A dt)], cumulate: {prompts: 7, seed: 3}, ranking: "
      "{prompts: 5, seed: 4}, prompts: 5, models: [a]}");
  const YamlNode written = parts_kind().form().write(entries, Purpose::kResolved).value();
  EXPECT_EQ(static_cast<const PartsConfig&>(*entries.at(0)),
            static_cast<const PartsConfig&>(*entries_in(write_yaml(written)).at(0)));
  EXPECT_THAT(write_yaml(written), HasSubstr("each random of 3 seed 1"));
}

INSTANTIATE_TEST_SUITE_P(Models, Parts,
                         ::testing::Values("gpt2", "llama", "mamba", "mamba2", "falcon_mamba"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::erase(name, '_');
                           return name;
                         });

}  // namespace
}  // namespace factflow
