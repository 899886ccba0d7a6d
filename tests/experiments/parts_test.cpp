// The kind `parts`: divisions are disjoint and whole, parts and several of them together are what
// the reference forward says, and the order is that of the single effects.
#include "experiments/parts/parts.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiments/drawn_prompts.hpp"
#include "experiments/parts/division.hpp"
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
  for (const char* name : {"each head", "each quantile of 12", "each random of 8 seed 3",
                           "each random of 8 seed 0", "each group of 64"})
    EXPECT_EQ(to_string(parse_division(name)), name);
  EXPECT_EQ(to_string(parse_division("each random of 8")), "each random of 8 seed 1");
  for (const char* wrong : {"each", "each channel", "each quantile of 1", "each quantile of x",
                            "each group of 8 seed 1", "each random of 8 seed -1",
                            "each random of 8 seed", "each random of", "quantile 1/8"})
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

// ---- the kind

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

TEST_P(Parts, PassOverWhatTheModelCannotHaveAndRefuseWhatIsTooMuch) {
  const PlannedWork planned =
      plan("{windows: {sizes: 2}, channels: [each head, each quantile of 2, each group of 2]}");
  if (transformer())
    EXPECT_THAT(planned.skipped, ElementsAre("subject->last/each quantile of 2"));
  else if (has_heads())
    EXPECT_THAT(planned.skipped, IsEmpty());
  else
    EXPECT_THAT(planned.skipped, ElementsAre("subject->last/each head"));
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
  EXPECT_THAT(refused("[{windows: {sizes: 2}, channels: each group of 2, cumulate: {prompts: 2}}, "
                      "{windows: {sizes: 2}, channels: each group of 2, cumulate: {prompts: 3}}]"),
              HasSubstr("other ordering prompts"));
}

TEST_P(Parts, AreWrittenAsTheyAreRead) {
  const Entries entries = entries_in(
      "{from: [subject, first], to: last, windows: {sizes: [1, 9]}, channels: [each head, each "
      "random of 3], cumulate: {prompts: 7, seed: 3}, prompts: 5, models: [a]}");
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
