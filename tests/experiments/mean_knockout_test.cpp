// The kind `mean_knockout`: means and answers are what the reference forward says, and keep the
// invariants of knockouts.
#include "experiments/mean_knockout/mean_knockout.hpp"

#include <algorithm>
#include <filesystem>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiments/drawn_prompts.hpp"
#include "model/locate_interventions.hpp"
#include "tests/experiments/demo_facts.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::VariantWith;

constexpr double kClose = 1e-6;  // stored numbers are float32

class MeanKnockout : public DemoFacts {
 protected:
  MeanKnockout() : DemoFacts(mean_knockout_kind()) {}

  bool transformer() const { return GetParam() == "gpt2"; }
  bool has_xbc() const { return GetParam() == "mamba2"; }

  // The mean of a site in every layer, over the tokens of each of some prompts, then over these.
  std::vector<std::vector<double>> reference_means(Site site,
                                                   const std::vector<Prompt>& prompts) const {
    const ReferenceForward reference(model_->network());
    std::vector<SiteAt> sites;
    for (int layer = 0; layer < layers(); ++layer) sites.push_back({site, layer});
    std::vector<at::Tensor> sums(sites.size());
    for (const TokenizedPrompt& prompt : model_->tokenize_usable(prompts)) {
      const auto values = reference.run(prompt.ids, {}, sites).values;
      for (size_t l = 0; l < sites.size(); ++l) {
        const at::Tensor mean = values.at(sites[l]).mean(0);
        sums[l] = sums[l].defined() ? sums[l] + mean : mean;
      }
    }
    std::vector<std::vector<double>> means;
    for (const at::Tensor& sum : sums) {
      const at::Tensor mean = (sum / static_cast<double>(prompts.size())).contiguous();
      means.emplace_back(mean.data_ptr<double>(), mean.data_ptr<double>() + mean.numel());
    }
    return means;
  }

  double stored(const std::string& name, const std::string& item, size_t fact, int centre,
                int window) const {
    const auto& items = axis<std::string>("mean_knockout", "knockout");
    const auto place =
        static_cast<size_t>(std::find(items.begin(), items.end(), item) - items.begin());
    const size_t cell = (place * prompts_.size() + fact) * static_cast<size_t>(layers()) +
                        static_cast<size_t>(centre);
    return static_cast<double>(
        array<float>("mean_knockout/window_" + std::to_string(window), name).at(cell));
  }

  // By whole forwards, from the definition: layer by layer for two-stream.
  double reference(const std::string& item, const TokenizedPrompt& prompt,
                   const std::vector<int>& positions, const std::vector<int>& window,
                   const std::vector<std::vector<double>>& means) const {
    const auto [mode, set] = mode_and_set(item);
    const int last = static_cast<int>(prompt.ids.size()) - 1;
    if (mode == "edges") {
      Block block;
      block.layers = window;
      block.sources = positions;
      block.targets = {last};
      return probability(prompt.ids, prompt.answer, {block});
    }
    const Site site = mode.ends_with("xbc") ? Site::kXbc : Site::kA;
    const auto at_mean = [&](int layer) {
      return Write{
          site, {layer}, positions, std::nullopt, Vector{means.at(static_cast<size_t>(layer))}};
    };
    std::vector<Intervention> together;
    if (mode.starts_with("mean")) {
      std::vector<int> others;
      for (int token = 0; token < last; ++token)
        if (std::find(positions.begin(), positions.end(), token) == positions.end())
          others.push_back(token);
      for (const int layer : window) together.emplace_back(at_mean(layer));
      together.emplace_back(
          Write{site, window, others, std::nullopt, OtherRun{prompt.ids, others}});
      return probability(prompt.ids, prompt.answer, together);
    }
    const ReferenceForward forward(model_->network());
    for (const int layer : window) {
      std::vector<Intervention> second = together;
      second.emplace_back(at_mean(layer));
      const SiteAt at{Site::kS, layer};
      const at::Tensor s = forward.run(prompt.ids, second, {{at}}).values.at(at)[last].contiguous();
      together.emplace_back(
          Write{Site::kS,
                {layer},
                {last},
                std::nullopt,
                Vector{{s.data_ptr<double>(), s.data_ptr<double>() + s.numel()}}});
    }
    return probability(prompt.ids, prompt.answer, together);
  }
};

std::vector<int> layers_around(int centre, int size, int count) {
  std::vector<int> layers;
  for (int layer = std::max(0, centre - size / 2); layer < std::min(count, centre + (size + 1) / 2);
       ++layer)
    layers.push_back(layer);
  return layers;
}

TEST_P(MeanKnockout, StoresWhatTheReferenceForwardSays) {
  compute(plan("{window: 3, references: {prompts: 4, seed: 7}}"));
  const std::vector<Prompt> references = drawn_prompts(prompts_, 4, 7);
  std::vector<std::string> modes = {"edges"};
  if (!transformer()) modes.insert(modes.begin(), {"mean-a", "two-stream-a"});
  if (has_xbc()) modes.insert(modes.begin() + 2, {"mean-xbc", "two-stream-xbc"});
  EXPECT_THAT(axis<std::string>("mean_knockout", "knockout"), SizeIs(4 * modes.size()));
  std::map<Site, std::vector<std::vector<double>>> means;
  if (!transformer()) means[Site::kA] = reference_means(Site::kA, references);
  if (has_xbc()) means[Site::kXbc] = reference_means(Site::kXbc, references);
  const size_t fact = 2;
  const TokenizedPrompt prompt = tokens_of(fact);
  const int last = static_cast<int>(prompt.ids.size()) - 1;
  std::vector<int> others;
  for (int token = 0; token < last; ++token)
    if (token < prompt.subject.front() || token > prompt.subject.back()) others.push_back(token);
  const std::map<std::string, std::vector<int>> sets = {{"subject", prompt.subject},
                                                        {"subject-last", {prompt.subject.back()}},
                                                        {"non-subject", others},
                                                        {"prompt-last", {last}}};
  const double clean = probability(prompt.ids, prompt.answer);
  double largest = 0;
  for (const std::string& mode : modes)
    for (const auto& [set, positions] : sets)
      for (const int centre : {0, layers() / 2, layers() - 1}) {
        const std::string item = mode + " " + set;
        const double expected =
            reference(item, prompt, positions, layers_around(centre, 3, layers()),
                      means[mode.ends_with("xbc") ? Site::kXbc : Site::kA]);
        EXPECT_NEAR(stored("probability", item, fact, centre, 3), expected, kClose)
            << item << " " << centre;
        EXPECT_NEAR(stored("log_change", item, fact, centre, 3), std::log(expected / clean), 1e-4)
            << item << " " << centre;
        largest = std::max(largest, std::abs(expected - clean));
      }
  EXPECT_GT(largest, 1e-4);  // or nothing would be tested
}

// Means over the documents of a file are those over the same texts, and the file is not read again.
TEST_P(MeanKnockout, TakesMeansOverATextFile) {
  if (transformer()) GTEST_SKIP() << "needs no means";
  const TemporaryDirectory scratch;
  const std::string file =
      scratch.write("texts.txt", "The capital of Peru is\n\n  \nOne more document.\nJapan\n")
          .string();
  const PlannedWork planned =
      plan("{modes: mean-a, sets: subject, window: 2, references: {text: " + file + "}}");
  std::filesystem::remove(file);
  compute(planned);
  std::vector<std::vector<int>> texts;
  for (const char* text : {"The capital of Peru is", "One more document.", "Japan"})
    texts.push_back(model_->tokenizer().encode(text).ids);
  std::vector<std::vector<double>> means;
  const ReferenceForward forward(model_->network());
  std::int64_t tokens = 0;
  for (int layer = 0; layer < layers(); ++layer) {
    const SiteAt at{Site::kA, layer};
    at::Tensor sum;
    for (const std::vector<int>& ids : texts) {
      const at::Tensor mean = forward.run(ids, {}, {{at}}).values.at(at).mean(0);
      sum = sum.defined() ? sum + mean : mean;
      tokens += layer == 0 ? static_cast<std::int64_t>(ids.size()) : 0;
    }
    const at::Tensor mean = (sum / 3).contiguous();
    means.emplace_back(mean.data_ptr<double>(), mean.data_ptr<double>() + mean.numel());
  }
  const TokenizedPrompt prompt = tokens_of(1);
  for (const int centre : {0, layers() - 1})
    EXPECT_NEAR(stored("probability", "mean-a subject", 1, centre, 2),
                reference("mean-a subject", prompt, prompt.subject,
                          layers_around(centre, 2, layers()), means),
                kClose);
  EXPECT_THAT(axis<std::int64_t>("mean_knockout", "reference"), SizeIs(0));
  const auto& attributes = group("mean_knockout").attributes;
  EXPECT_THAT(attributes, ElementsAre(Pair("reference_tokens", VariantWith<std::int64_t>(tokens)),
                                      Pair("reference_documents", VariantWith<std::int64_t>(3))));
}

TEST_P(MeanKnockout, RefusesTextsThatAreNotThere) {
  if (transformer()) return;
  const TemporaryDirectory scratch;
  const std::string file = scratch.write("texts.txt", "one\ntwo\n").string(),
                    empty = scratch.write("empty.txt", "\n").string();
  EXPECT_THAT(refused("{references: {prompts: 3, text: " + file + "}}"),
              HasSubstr("key mean_knockout.references.prompts: " + file + " has only 2 documents"));
  EXPECT_THAT(refused("{references: {text: " + empty + "}}"), HasSubstr("has only 0 documents"));
  EXPECT_THAT(refused("{references: {text: /none.txt}}"),
              HasSubstr("key mean_knockout.references.text: "));
}

// The engine is held against whole forwards with the means themselves.
TEST_P(MeanKnockout, ChecksItselfWithItsMeans) {
  const PlannedWork planned = plan("{window: 3, references: {prompts: 3}}");
  const TokenizedPrompt prompt = tokens_of(2);
  const ReplayRequest check =
      planned.work->request_to_check(*model_, planned.asked.at(0), prompt, {});
  std::size_t vectors = 0, largest = 0;
  for (const Series& series : check.series) {
    EXPECT_FALSE(series.windows.has_value());
    for (const Intervention& one : series.interventions)
      if (const auto* write = std::get_if<Write>(&one))
        if (const auto* vector = std::get_if<Vector>(&write->value)) {
          ++vectors;
          largest += std::any_of(vector->values.begin(), vector->values.end(),
                                 [](double value) { return value != 0; });
        }
  }
  EXPECT_EQ(vectors > 0, !transformer());
  EXPECT_EQ(largest, vectors) << "a mean of zeros checks nothing";
  model_->check_self({check});
  EXPECT_GT(model_->facts().check_runs, 1);
}

TEST_P(MeanKnockout, SaysWhatTheMeansAreOf) {
  compute(plan("{references: {prompts: 3}}"));
  const std::vector<std::int64_t>& ids = axis<std::int64_t>("mean_knockout", "reference");
  const std::int64_t tokens =
      std::get<std::int64_t>(group("mean_knockout").attributes.at(0).second);
  if (transformer()) {
    EXPECT_THAT(ids, IsEmpty());
    EXPECT_EQ(tokens, 0);
    return;
  }
  std::int64_t expected = 0;
  std::vector<std::int64_t> drawn;
  for (const Prompt& prompt : drawn_prompts(prompts_, 3, 1)) {
    drawn.push_back(prompt.id);
    expected += static_cast<std::int64_t>(model_->tokenize_usable({prompt}).at(0).ids.size());
  }
  EXPECT_EQ(ids, drawn);
  EXPECT_EQ(tokens, expected);
}

// Invariants of the specification, 5.4.
TEST_P(MeanKnockout, WithoutTokensOrWithCleanValuesNothingChanges) {
  if (transformer()) GTEST_SKIP() << "no mean";
  const TokenizedPrompt prompt = tokens_of(0);
  const double clean = probability(prompt.ids, prompt.answer);
  const SiteMeans means{Site::kA, reference_means(Site::kA, prompts_)};
  const std::vector<int> window = {0, 1};
  EXPECT_NEAR(
      probability(prompt.ids, prompt.answer, mean_knockout({prompt.ids, {}}, means, window)), clean,
      1e-12);
  // The clean values of one token in place of the mean.
  const int token = prompt.subject.front();
  const ReferenceForward forward(model_->network());
  SiteMeans values{Site::kA, {}};
  for (int layer = 0; layer < layers(); ++layer) {
    const SiteAt at{Site::kA, layer};
    const at::Tensor a = forward.run(prompt.ids, {}, {{at}}).values.at(at)[token].contiguous();
    values.of_layer.emplace_back(a.data_ptr<double>(), a.data_ptr<double>() + a.numel());
  }
  EXPECT_NEAR(
      probability(prompt.ids, prompt.answer, mean_knockout({prompt.ids, {token}}, values, window)),
      clean, 1e-12);
  const Replayer replay = [&](const std::vector<ReplayRequest>& requests) {
    return model_->replay(requests);
  };
  std::vector<TwoStreamKnockout> streams = {{{prompt.ids, {token}}, &values, prompt.answer, window},
                                            {{prompt.ids, {}}, &means, prompt.answer, window}};
  take_second_streams(replay, streams);
  for (const TwoStreamKnockout& stream : streams) {
    EXPECT_THAT(stream.together, SizeIs(window.size()));
    EXPECT_NEAR(probability(prompt.ids, prompt.answer, stream.together), clean, 1e-9);
  }
}

// Edges from every token to the last one: its s is D u.
TEST_P(MeanKnockout, WithoutAnyEdgeTheSkipAloneIsLeft) {
  if (transformer()) GTEST_SKIP() << "no skip";
  const TokenizedPrompt prompt = tokens_of(0);
  std::vector<int> all(prompt.ids.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int>(i);
  const ReferenceForward forward(model_->network());
  const std::vector<SiteAt> sites = {{Site::kS, 1}, {Site::kSkip, 1}};
  const auto values = forward.run(prompt.ids, cut_edges({prompt.ids, all}, {1}), sites).values;
  EXPECT_TRUE(
      at::allclose(values.at(sites[0])[all.back()], values.at(sites[1])[all.back()], 1e-9, 1e-12));
}

// A knockout of the prompt's last token in one layer changes no other token.
TEST_P(MeanKnockout, OfTheLastTokenLeavesTheOthers) {
  if (transformer()) GTEST_SKIP() << "no mean";
  const TokenizedPrompt prompt = tokens_of(0);
  const int last = static_cast<int>(prompt.ids.size()) - 1;
  const SiteMeans means{Site::kA, reference_means(Site::kA, prompts_)};
  const ReferenceForward forward(model_->network());
  const std::vector<SiteAt> sites = {{Site::kH, layers()}};
  const at::Tensor clean = forward.run(prompt.ids, {}, sites).values.at(sites[0]),
                   knocked =
                       forward
                           .run(prompt.ids, mean_knockout({prompt.ids, {last}}, means, {1}), sites)
                           .values.at(sites[0]);
  EXPECT_TRUE(at::equal(clean.narrow(0, 0, last), knocked.narrow(0, 0, last)));
  EXPECT_FALSE(at::equal(clean[last], knocked[last]));
}

TEST_P(MeanKnockout, APromptWithoutSuchTokensHasNoNumber) {
  Prompt bare;
  bare.id = 99;
  bare.text = "France is";
  bare.subject = "France";
  bare.answer = " Paris";
  prompts_ = {prompts_[0], bare};
  compute(plan("{sets: [non-subject, subject], modes: edges, window: 1}"));
  const std::int64_t others =
      static_cast<std::int64_t>(positions_of(KnockoutSet::kNonSubject, tokens_of(1)).size());
  EXPECT_EQ(array<std::int64_t>("mean_knockout", "positions")[1], others);
  EXPECT_EQ(std::isnan(stored("probability", "edges non-subject", 1, 0, 1)), others == 0);
  EXPECT_FALSE(std::isnan(stored("probability", "edges subject", 1, 0, 1)));
}

TEST_P(MeanKnockout, RefusesWhatCannotBe) {
  if (transformer())
    EXPECT_THAT(refused("{modes: mean-a}"),
                HasSubstr("x.yaml: key mean_knockout.modes: mean-a: model any: "));
  else if (!has_xbc())
    EXPECT_THAT(refused("{modes: [mean-a, mean-xbc]}"), HasSubstr("mean-xbc: model any: "));
  EXPECT_THAT(refused("{modes: zero}"), HasSubstr("two-stream-a"));
  EXPECT_THAT(refused("{sets: relation}"), HasSubstr("non-subject"));
  EXPECT_THAT(refused("{sets: [subject, subject]}"), HasSubstr("repeats an earlier value"));
  EXPECT_THAT(refused("{window: 99}"), HasSubstr("key mean_knockout.window: a window of 99"));
  EXPECT_THAT(refused("{window: 0}"), HasSubstr("mean_knockout.window"));
  if (transformer()) return;  // needs no reference
  EXPECT_THAT(refused("{references: {prompts: 9}}"),
              HasSubstr("key mean_knockout.references.prompts: the dataset has only 8 prompts"));
  EXPECT_THAT(refused("[{}, {references: {seed: 2}}]"),
              HasSubstr("key mean_knockout[1].references: model any has other references"));
}

TEST_P(MeanKnockout, IsWrittenAsItIsRead) {
  const Entries entries = entries_in(
      "{modes: [edges, mean-a], sets: [prompt-last, subject], window: 3, prompts: 5, references: "
      "{prompts: 7, text: some.txt, seed: 3}}");
  const YamlNode written = mean_knockout_kind().form().write(entries, Purpose::kResolved).value();
  const auto& read = static_cast<const MeanKnockoutConfig&>(*entries.at(0));
  EXPECT_EQ(read, static_cast<const MeanKnockoutConfig&>(*entries_in(write_yaml(written)).at(0)));
  EXPECT_THAT(read.modes, ElementsAre(KnockoutMode::kEdges, KnockoutMode::kMeanA));
  EXPECT_EQ(read.references.prompts, 7);
  EXPECT_THAT(read.references.text, HasSubstr("some.txt"));
}

INSTANTIATE_TEST_SUITE_P(Models, MeanKnockout,
                         ::testing::Values("gpt2", "mamba", "mamba2", "falcon_mamba"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::erase(name, '_');
                           return name;
                         });

}  // namespace
}  // namespace factflow
