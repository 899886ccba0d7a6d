// The kind `intervene`: what its rows are in a prompt, what is refused, and that what it stores is
// what the reference forward says.
#include "experiments/intervene/intervene.hpp"

#include <cmath>
#include <limits>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "base/files.hpp"
#include "experiments/drawn_prompts.hpp"
#include "experiments/intervene/intervention_arrays.hpp"
#include "fields/yaml_tree.hpp"
#include "model/reference/decay_in_prompts.hpp"
#include "model/reference/reference.hpp"
#include "model/threads.hpp"
#include "tests/source_dir.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow {
namespace {

using ::testing::DoubleEq;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

Entries entries_in(const std::string& section) {
  static const std::filesystem::path file = "x.yaml";
  return intervene_kind().form().read(parse_yaml(section, file), Place{file, "intervene"});
}

std::string problem_of(const std::string& section) {
  try {
    entries_in(section);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

std::vector<RowSpec> rows_in(const std::string& row) {
  const Entries entries = entries_in("windows: {sizes: 2}\nrows:\n  - " + row + "\n");
  const auto& entry = static_cast<const InterveneConfig&>(*entries.at(0));
  return rows_of(entry.rows.at(0), entry.references);
}

std::vector<std::string> names_in(const std::string& row) {
  std::vector<std::string> names;
  for (const RowSpec& one : rows_in(row)) names.push_back(one.name);
  return names;
}

TEST(InterveneRows, AreNamedByWhatTheyDo) {
  EXPECT_THAT(names_in("{block: {from: [subject, first], to: last, through: [state, mixer]}}"),
              ElementsAre("subject->last", "subject->last through mixer", "first->last",
                          "first->last through mixer"));
  EXPECT_THAT(names_in("{block: {from: subject, to: last, channels: [all, quantile 2/5]}}"),
              ElementsAre("subject->last", "subject->last/quantile 2/5"));
  EXPECT_THAT(names_in("{block: {from: subject, to: last, through: convolution, channels: "
                       "quantile 2/5 by exp(A dt)}}"),
              ElementsAre("subject->last/quantile 2/5 by exp(A dt) through convolution"));
  EXPECT_THAT(names_in("{block: {from: subject, to: last, heads: [0, 3]}}"),
              ElementsAre("subject->last heads 0 3"));
  EXPECT_THAT(names_in("{set: {site: [s, o], tokens: subject-last, value: [zero, mean]}}"),
              ElementsAre("s(subject-last) = zero", "s(subject-last) = mean",
                          "o(subject-last) = zero", "o(subject-last) = mean"));
  EXPECT_THAT(names_in("{add: {site: h, tokens: 1..3, value: {noise: 0.5}, scale: 2}}"),
              ElementsAre("h(1..3) + 2 x noise 0.5"));
  EXPECT_THAT(names_in("{name: gate, set: {site: g, tokens: [last, -2], value: zero}}"),
              ElementsAre("gate: g(last) = zero", "gate: g(-2) = zero"));
  EXPECT_THAT(names_in("together: [{block: {from: subject, to: last}}, {set: {site: o, tokens: "
                       "last, value: zero}}]"),
              ElementsAre("subject->last & o(last) = zero"));
}

TEST(InterveneRows, AreWrittenAsTheyAreRead) {
  const Entries entries = entries_in(
      "windows: {sizes: [1, 5], placement: centred}\n"
      "rows:\n"
      "  - {block: {from: subject, to: last, through: convolution, parts: [x, c]}}\n"
      "  - {set: {site: h, tokens: each, value: {vector: [1, 1, -0.5]}, channel_list: [2, 0, 7]}}\n"
      "  - {add: {site: s, tokens: -1, value: {noise: 0.1}, scale: -2}}\n"
      "  - {name: two, together: [{block: {from: first, to: last}}, "
      "{set: {site: o, tokens: subject, value: resample}}]}\n"
      "  - {block: {from: last, to: last, channels: [slow, quantile 1/3 by exp(A dt)]}}\n"
      "references: {prompts: 3, seed: 7}\n"
      "ranking: {prompts: 9, seed: 4}\n"
      "prompts: 4\n"
      "models: [a]\n");
  const YamlNode written = intervene_kind().form().write(entries, Purpose::kResolved).value();
  const Entries again = entries_in(write_yaml(written));
  EXPECT_EQ(static_cast<const InterveneConfig&>(*entries.at(0)),
            static_cast<const InterveneConfig&>(*again.at(0)));
}

TEST(InterveneRows, WithoutEffectOrSenseAreRefused) {
  const auto row = [](const std::string& text) {
    return problem_of("windows: {sizes: 2}\nrows: [" + text + "]\n");
  };
  EXPECT_THAT(row("{add: {site: h, tokens: last, value: zero}}"),
              HasSubstr("add.value: adds zero, which changes nothing"));
  EXPECT_THAT(row("{add: {site: h, tokens: last, value: {vector: [0, 0]}}}"),
              HasSubstr("adds zero"));
  EXPECT_THAT(row("{add: {site: h, tokens: last, value: mean, scale: 0}}"),
              HasSubstr("add.scale: is 0"));
  EXPECT_THAT(row("{set: {site: h, tokens: last, value: {noise: 0}}}"), HasSubstr("not above 0"));
  EXPECT_THAT(row("{set: {site: h, tokens: last, value: zero}, block: {from: first, to: last}}"),
              HasSubstr("expected exactly one of block, set, add and together"));
  EXPECT_THAT(row("{name: nothing}"), HasSubstr("expected exactly one of"));
  EXPECT_THAT(row("{together: [{block: {from: [first, subject], to: last}}]}"),
              HasSubstr("stands for several actions"));
  EXPECT_THAT(row("{set: {site: q, tokens: last, value: zero}}"), HasSubstr("set.site"));
  EXPECT_THAT(row("{set: {site: h, tokens: subject-middle, value: zero}}"),
              HasSubstr("unknown group of tokens 'subject-middle'"));
  EXPECT_THAT(row("{set: {site: h, tokens: 3..1, value: zero}}"), HasSubstr("places in order"));
  EXPECT_THAT(row("{set: {site: h, tokens: last, value: {vector: [1, x]}}}"),
              HasSubstr("vector[1]: expected a number"));
  EXPECT_THAT(row("{block: {from: subject, to: last, channels: slow, heads: 1}}"),
              HasSubstr("more than one of channels, heads and channel_list"));
  EXPECT_THAT(row("{block: {from: subject, to: last, parts: x}}"),
              HasSubstr("is of the convolution alone"));
  EXPECT_THAT(
      row("{block: {from: first, to: last}}, {name: first->last, block: {from: 0, to: last}}"),
      HasSubstr("gives the row 'first->last' a second time"));
}

// "The capital of France is": the subject is token 3, of six with <bos>.
TokenizedPrompt prompt_of(std::vector<int> ids, std::vector<int> subject) {
  TokenizedPrompt prompt;
  prompt.ids = std::move(ids);
  prompt.subject = std::move(subject);
  return prompt;
}

std::vector<int> tokens_of(const std::string& group, const TokenizedPrompt& prompt) {
  return positions_of(parse_token_group(group), prompt, 2);
}

TEST(TokenGroups, AreRolesTheirEndsAndPlaces) {
  const TokenizedPrompt prompt = prompt_of({5, 6, 7, 8, 9}, {1, 2});
  EXPECT_THAT(tokens_of("subject", prompt), ElementsAre(1, 2));
  EXPECT_THAT(tokens_of("subject-first", prompt), ElementsAre(1));
  EXPECT_THAT(tokens_of("subject-last", prompt), ElementsAre(2));
  EXPECT_THAT(tokens_of("relation-minus-last", prompt), ElementsAre(0, 3));
  EXPECT_THAT(tokens_of("0", prompt), ElementsAre(0));
  EXPECT_THAT(tokens_of("-2", prompt), ElementsAre(3));
  EXPECT_THAT(tokens_of("1..-2", prompt), ElementsAre(1, 2, 3));
  EXPECT_THAT(tokens_of("each", prompt), ElementsAre(2));
  EXPECT_THAT(tokens_of("5", prompt), IsEmpty());
  EXPECT_THAT(tokens_of("-6", prompt), IsEmpty());
  EXPECT_THAT(tokens_of("3..7", prompt), IsEmpty());
  for (const char* name : {"subject", "subject-last", "3", "-2", "1..-2", "each"})
    EXPECT_EQ(to_string(parse_token_group(name)), name);
}

TEST(InterveneRows, TakeTheDonorsTokensOfTheSameRoleFromTheirEnd) {
  const TokenizedPrompt prompt = prompt_of({5, 6, 7, 8, 9}, {1, 2, 3}),
                        donor = prompt_of({1, 2, 3, 4, 5, 6}, {2, 3});
  const std::vector<TokenizedPrompt> references = {prompt, donor};
  const auto taken = [&](const std::string& tokens, int each) {
    const RowSpec row = rows_in("{set: {site: h, tokens: " + tokens + ", value: resample}}").at(0);
    const RowInPrompt found = in_prompt(row, prompt, references, each, 4);
    const auto& write = std::get<Write>(found.interventions.at(0));
    EXPECT_EQ(std::get<OtherRun>(write.value).ids, donor.ids);  // never the prompt's own
    return std::get<OtherRun>(write.value).tokens;
  };
  EXPECT_THAT(taken("subject", 0), ElementsAre(2, 2, 3));
  EXPECT_THAT(taken("last", 0), ElementsAre(5));
  EXPECT_THAT(taken("each", 3), ElementsAre(3));  // the subject's last
  EXPECT_THAT(taken("each", 4), ElementsAre(5));
  EXPECT_THAT(taken("each", 0), ElementsAre(1));  // as far from the end
}

TEST(InterveneRows, TouchNothingWhereOnePartOfThemHasNoToken) {
  const TokenizedPrompt prompt = prompt_of({5, 6, 7, 8}, {0, 1});  // no context
  const auto touched = [&](const std::string& row, int taps) {
    return in_prompt(rows_in(row).at(0), prompt, {}, 0, taps).touched;
  };
  EXPECT_EQ(touched("{block: {from: subject, to: last}}", 4), 2);
  EXPECT_EQ(touched("{block: {from: subject, to: last, through: convolution}}", 3), 1);
  EXPECT_EQ(touched("{block: {from: context, to: last}}", 4), 0);
  EXPECT_EQ(touched("together: [{block: {from: subject, to: last}}, "
                    "{set: {site: h, tokens: last, value: zero}}]",
                    4),
            3);
  EXPECT_EQ(touched("together: [{block: {from: subject, to: last}}, "
                    "{set: {site: h, tokens: context, value: zero}}]",
                    4),
            0);
}

TEST(InterveneRows, NoiseIsOfThePromptTheTokenAndTheSeed) {
  RowSpec row = rows_in("{add: {site: h, tokens: 0..2, value: {noise: 0.5}}}").at(0);
  row.widths = {400};
  const auto noise = [&](const TokenizedPrompt& prompt, size_t token) {
    const RowInPrompt found = in_prompt(row, prompt, {}, 0, 4);
    return std::get<Vector>(std::get<Write>(found.interventions.at(token)).value).values;
  };
  const TokenizedPrompt prompt = prompt_of({5, 6, 7}, {0}), other = prompt_of({5, 6, 8}, {0});
  const std::vector<double> first = noise(prompt, 0);
  EXPECT_EQ(first, noise(prompt, 0));
  EXPECT_NE(first, noise(prompt, 1));
  EXPECT_NE(first, noise(other, 0));
  double sum = 0, squares = 0;
  for (const double value : first) {
    sum += value;
    squares += value * value;
  }
  EXPECT_NEAR(sum / 400, 0, 0.1);
  EXPECT_NEAR(std::sqrt(squares / 400), 0.5, 0.07);
  row.seed = 2;
  EXPECT_NE(first, noise(prompt, 0));
}

// ---- with a model

class Intervene : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    set_threads(1, 1);
    for (const auto& [subject, relation] :
         {std::pair("Valdoria", "The capital of {} is"), std::pair("Bren", "In {}, people speak"),
          std::pair("Old Karst Hill", "The river of {} is"), std::pair("Mira", "{} was born in")}) {
      Prompt& prompt = prompts_.emplace_back();
      prompt.id = static_cast<std::int64_t>(10 + prompts_.size());
      prompt.text = relation;
      prompt.subject_begin = static_cast<std::int64_t>(prompt.text.find("{}"));
      prompt.text.replace(static_cast<size_t>(prompt.subject_begin), 2, subject);
      prompt.subject = subject;
      prompt.answer = " a";
    }
  }

  bool is_attention() const { return GetParam() == "gpt2" || GetParam() == "llama"; }
  PlannedWork plan(const std::string& section) const {
    return intervene_kind().plan(entries_in(section), {name_, model().network().architecture(),
                                                       Placement::kFit, file_, prompts_});
  }
  LoadedModel& model() const {
    if (!model_) {
      ModelSource source;
      source.path = source.tokenizer = source_dir() + "/demo/models/" + GetParam();
      model_ = std::make_unique<LoadedModel>(source, at::kCPU, Precision::kFp64, 0, "here");
    }
    return *model_;
  }

  // The results of some prompts, as they come back from a file.
  std::filesystem::path stored(const PlannedWork& planned, const std::vector<std::uint32_t>& of) {
    std::vector<Prompt> some;
    for (const std::uint32_t index : of) some.push_back(prompts_[index]);
    const Subjects subjects{prompts_, of, {{"all", of}}, {{0, planned.asked.at(0)}}};
    // As the ranks do: the work travels as bytes.
    const auto work = intervene_kind().work_from(planned.work->bytes());
    const auto maker = work->arrays(subjects);
    const std::vector<Finding> found =
        work->compute(model(), planned.asked[0], model().tokenize_usable(some));
    for (size_t i = 0; i < of.size(); ++i) {
      EXPECT_EQ(found[i].failure, "");
      maker->add(of[i], planned.asked[0], found[i].values);
    }
    groups_ = maker->groups();
    return {};
  }

  template <class T>
  const std::vector<T>& array(const std::string& path, const std::string& name) const {
    for (const ArrayGroup& group : groups_)
      if (group.path == path)
        for (const LabelledArray& one : group.arrays)
          if (one.name == name) return std::get<std::vector<T>>(one.values);
    throw std::out_of_range(path + "/" + name);
  }

  double log_probability(const TokenizedPrompt& prompt,
                         const std::vector<Intervention>& interventions) const {
    const ReferenceForward reference(model().network());
    return reference.log_probabilities(prompt.ids, interventions)[prompt.answer].item<double>();
  }

  const std::string name_ = "any";
  const std::filesystem::path file_ = "x.yaml";
  std::vector<Prompt> prompts_;
  std::vector<ArrayGroup> groups_;
  mutable std::unique_ptr<LoadedModel> model_;
};

std::vector<int> layers_from(int first, int count) {
  std::vector<int> layers;
  for (int layer = first; layer < first + count; ++layer) layers.push_back(layer);
  return layers;
}

TEST_P(Intervene, StoresWhatTheReferenceForwardSays) {
  const PlannedWork planned = plan(
      "windows: {sizes: [1, 4]}\n"
      "rows:\n"
      "  - {block: {from: subject, to: last, through: mixer}}\n"
      "  - {set: {site: o, tokens: subject-last, value: [zero, mean, resample]}}\n"
      "  - {add: {site: h, tokens: last, value: {vector: [2, -1]}, channel_list: [3, 5], scale: "
      "0.5}}\n"
      "  - {name: both, together: [{block: {from: 0, to: last}}, "
      "{set: {site: s, tokens: -2, value: zero}}]}\n"
      "  - {block: {from: each, to: last}}\n"
      "references: {prompts: 3}\n");
  stored(planned, {1, 2});
  const std::vector<Prompt> references = planned.work->references({});
  ASSERT_EQ(references.size(), 3U);
  std::vector<std::vector<int>> runs;
  for (const TokenizedPrompt& one : model().tokenize_usable(references)) runs.push_back(one.ids);

  const int layers = model().network().architecture().layers;
  for (size_t p = 0; p < 2; ++p) {
    const TokenizedPrompt prompt = model().tokenize_prompt(prompts_[p + 1]);
    const int last = static_cast<int>(prompt.ids.size()) - 1, end = prompt.subject.back();
    const double clean = log_probability(prompt, {});
    const std::int64_t donor_id = array<std::int64_t>("intervention", "donor").at(p);
    const auto donor = std::find_if(prompts_.begin(), prompts_.end(),
                                    [&](const Prompt& one) { return one.id == donor_id; });
    ASSERT_NE(donor, prompts_.end());
    ASSERT_NE(donor_id, prompts_[p + 1].id);
    const TokenizedPrompt lender = model().tokenize_prompt(*donor);
    const auto& touched = array<std::int64_t>("intervention", "touched");
    EXPECT_EQ(touched.at(p), static_cast<std::int64_t>(prompt.subject.size()));
    for (const int size : {1, 4}) {
      const std::string window = "intervention/window_" + std::to_string(size);
      const size_t starts = static_cast<size_t>(layers - size + 1);
      const auto& probability = array<float>(window, "probability");
      const auto& change = array<float>(window, "log_change");
      for (const size_t start : {size_t{0}, starts / 2, starts - 1}) {
        const std::vector<int> in = layers_from(static_cast<int>(start), size);
        const auto set_o = [&](Value value) {
          return Write{Site::kO, in, {end}, std::nullopt, std::move(value)};
        };
        Block mixer{Block::Through::kMixer, in, {last}, prompt.subject, ChannelSet{}, {}},
            first{Block::Through::kState, in, {last}, {0}, ChannelSet{}, {}};
        Write vector{Site::kH, in, {last}, std::vector<int>{3, 5}, Vector{{2, -1}}, true, 0.5};
        const std::vector<std::vector<Intervention>> rows = {
            {mixer},
            {set_o(Zero{})},
            {set_o(MeanOfRuns{runs})},
            {set_o(OtherRun{lender.ids, {lender.subject.back()}})},
            {vector},
            {first, Write{Site::kS, in, {last - 1}, std::nullopt, Zero{}}}};
        for (size_t row = 0; row < rows.size(); ++row) {
          const double expected = log_probability(prompt, rows[row]);
          const size_t cell = (row * 2 + p) * starts + start;
          EXPECT_NEAR(probability.at(cell), std::exp(expected), 1e-6) << row << " " << start;
          EXPECT_NEAR(change.at(cell), expected - clean, 1e-5) << row << " " << start;
        }
        const auto& map = array<float>("intervention_map_0/window_" + std::to_string(size),
                                       std::to_string(prompts_[p + 1].id));
        ASSERT_EQ(map.size(), prompt.ids.size() * starts);
        for (const int token : {0, last}) {
          Block one{Block::Through::kState, in, {last}, {token}, ChannelSet{}, {}};
          EXPECT_NEAR(map.at(static_cast<size_t>(token) * starts + start),
                      std::exp(log_probability(prompt, {one})), 1e-6);
        }
      }
    }
  }
}

TEST_P(Intervene, RefusesWhatTheModelDoesNotHave) {
  const auto refused = [&](const std::string& row) -> std::string {
    try {
      plan("windows: {sizes: 2}\nrows: [" + row + "]\n");
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(refused("{set: {site: norm, tokens: last, value: zero}}"),
              HasSubstr("x.yaml: key intervene.rows[0] (norm(last) = zero): model any: "));
  EXPECT_THAT(refused("{set: {site: h, tokens: last, value: zero, channel_list: 100000}}"),
              HasSubstr("channel 100000 of site h in layer 0"));
  EXPECT_THAT(refused("{set: {site: h, tokens: last, value: {vector: [1, 2]}}}"),
              HasSubstr("a vector of 2 numbers"));
  EXPECT_THAT(refused("{set: {site: o, tokens: last, value: mean}}, {block: {from: 0, to: last, "
                      "channel_list: 99999}}"),
              HasSubstr(is_attention() ? "heads, not channels" : "99999"));
  if (is_attention()) {
    EXPECT_THAT(refused("{block: {from: subject, to: last, through: convolution}}"),
                HasSubstr("no edges through a convolution"));
    EXPECT_THAT(refused("{set: {site: g, tokens: last, value: zero}}"), HasSubstr("no site g"));
    EXPECT_THAT(refused("{block: {from: subject, to: last, heads: 99}}"), HasSubstr("not 99"));
    EXPECT_THAT(refused("{block: {from: subject, to: last, channels: slow}}"),
                HasSubstr("heads, not channels"));
  } else {
    EXPECT_THAT(refused("{set: {site: mlp, tokens: last, value: zero}}"), HasSubstr("no site mlp"));
  }
  EXPECT_THAT(problem_of("windows: {sizes: 2}\nrows: {block: {from: 0, to: last}}\n"
                         "references: {prompts: 65}\n"),
              HasSubstr("references.prompts"));
}

// Slices by exp(A dt): other channels in each layer, by the stored means; alone, through the
// convolution, and together with other interventions.
TEST_P(Intervene, SlicesByTheDecayThatHappensAreWhatTheReferenceForwardSays) {
  const std::string section =
      "windows: {sizes: [1, 3]}\n"
      "rows:\n"
      "  - {block: {from: subject, to: last, through: [state, mixer], channels: [quantile 2/3 by "
      "exp(A dt)]}}\n"
      "  - {block: {from: each, to: last, channels: quantile 1/3 by exp(A dt)}}\n"
      "  - {block: {from: first, to: last}}\n"
      "  - {block: {from: context, to: last, channels: quantile 1/3 by exp(A dt)}}\n"
      "  - {name: both, together: [{set: {site: o, tokens: -2, value: zero}}, "
      "{block: {from: subject, to: last, channels: quantile 1/3 by exp(A dt)}}]}\n"
      "ranking: {prompts: 3, seed: 2}\n";
  if (is_attention()) {
    EXPECT_THAT([&] { plan(section); },
                ::testing::ThrowsMessage<InputError>(HasSubstr(
                    "key intervene.rows[0] (subject->last/quantile 2/3 by exp(A dt)): model any: "
                    "attention has no decay")));
    return;
  }
  stored(plan(section), {1, 3});  // the last prompt begins with its subject
  std::vector<std::vector<int>> ranking;
  for (const TokenizedPrompt& one : model().tokenize_usable(drawn_prompts(prompts_, 3, 2)))
    ranking.push_back(one.ids);
  const DecayInPrompts decay = decay_in_prompts(model().network(), ranking);
  std::vector<float> means;
  for (const std::vector<float>& layer : decay.mean)
    means.insert(means.end(), layer.begin(), layer.end());
  EXPECT_EQ(array<float>("intervention/ranking", "decay"), means);

  const bool heads = GetParam() == "mamba2";
  const TokenizedPrompt prompt = model().tokenize_prompt(prompts_[1]);
  const int last = static_cast<int>(prompt.ids.size()) - 1;
  const double clean = log_probability(prompt, {});
  // The slice of each layer, cut out of its own order.
  const auto slice = [&](int k, std::vector<int> sources, Block::Through through,
                         const std::vector<int>& layers) {
    std::vector<Intervention> together;
    for (const int layer : layers) {
      const std::vector<float>& here = decay.mean.at(static_cast<size_t>(layer));
      std::vector<int> order(here.size());
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
        return here[static_cast<size_t>(a)] > here[static_cast<size_t>(b)];
      });
      const auto end = [&](int of) {
        return order.begin() + static_cast<std::ptrdiff_t>(here.size()) * of / 3;
      };
      const std::vector<int> lost(end(k - 1), end(k));
      Block block{through, {layer}, {last}, sources, Channels{lost}, {}};
      if (heads) block.selection = Heads{lost};
      together.emplace_back(block);
    }
    return together;
  };
  const int layers = model().network().architecture().layers;
  for (const int size : {1, 3}) {
    const std::string window = "intervention/window_" + std::to_string(size);
    const size_t starts = static_cast<size_t>(layers - size + 1);
    for (const size_t start : {size_t{1}, starts - 1}) {
      const std::vector<int> in = layers_from(static_cast<int>(start), size);
      std::vector<Intervention> both = slice(1, prompt.subject, Block::Through::kState, in);
      both.emplace_back(Write{Site::kO, in, {last - 1}, std::nullopt, Zero{}});
      const std::vector<std::pair<size_t, std::vector<Intervention>>> rows = {
          {0, slice(2, prompt.subject, Block::Through::kState, in)},
          {1, slice(2, prompt.subject, Block::Through::kMixer, in)},
          {2, {Block{Block::Through::kState, in, {last}, {0}, ChannelSet{}, {}}}},
          {4, both}};
      for (const auto& [row, interventions] : rows)
        EXPECT_NEAR(array<float>(window, "log_change").at(row * 2 * starts + start),
                    log_probability(prompt, interventions) - clean, 1e-5)
            << row << " " << size << " " << start;
      // Nothing stands before the subject of the last prompt.
      EXPECT_EQ(array<std::int32_t>(window, "rank").at((3 * 2 + 1) * starts + start), 0);
      const auto& map = array<float>("intervention_map_0/window_" + std::to_string(size),
                                     std::to_string(prompts_[1].id));
      for (const int token : {0, last})
        EXPECT_NEAR(
            map.at(static_cast<size_t>(token) * starts + start),
            std::exp(log_probability(prompt, slice(1, {token}, Block::Through::kState, in))), 1e-6);
    }
  }
}

TEST_P(Intervene, RefusesRankingsThatNothingIsBy) {
  EXPECT_THAT(
      [&] {
        plan("windows: {sizes: 2}\nrows: {block: {from: 0, to: last}}\nranking: {prompts: 2}\n");
      },
      ::testing::ThrowsMessage<InputError>(
          HasSubstr("key intervene.ranking: no row of the entry is by exp(A dt)")));
  EXPECT_THAT(problem_of("windows: {sizes: 2}\nrows: {block: {from: 0, to: last, channels: slow by "
                         "exp(A dt)}}\n"),
              HasSubstr("only slices are by exp(A dt), found 'slow by exp(A dt)'"));
}

// Prompts that a row finds nothing in have no number, and the others are as they are without them.
TEST_P(Intervene, HasNoNumberWhereThereIsNothingToTouch) {
  const PlannedWork planned = plan(
      "windows: {sizes: 3}\nrows:\n  - {block: {from: 40, to: last}}\n"
      "  - {block: {from: context, to: last}}\n");
  stored(planned, {0, 3});  // the last prompt begins with its subject
  const auto& touched = array<std::int64_t>("intervention", "touched");
  EXPECT_EQ(touched.at(0), 0);
  EXPECT_EQ(touched.at(1), 0);
  EXPECT_GT(touched.at(2), 0);
  const auto& rank = array<std::int32_t>("intervention/window_3", "rank");
  const auto& probability = array<float>("intervention/window_3", "probability");
  EXPECT_EQ(rank.at(0), 0);
  EXPECT_TRUE(std::isnan(probability.at(0)));
}

INSTANTIATE_TEST_SUITE_P(Models, Intervene,
                         ::testing::Values("gpt2", "llama", "mamba", "mamba2", "falcon_mamba"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace factflow
