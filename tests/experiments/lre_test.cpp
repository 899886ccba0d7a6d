// The kind `lre`: which prompts its relations are of, that its numbers are those of model/edit/lre,
// and what must hold of any linear relation.
#include "experiments/lre/lre.hpp"

#include <cmath>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "experiments/lre/lre_arrays.hpp"
#include "experiments/lre/relation_fit.hpp"
#include "experiments/lre/worded_relation.hpp"
#include "fields/yaml_tree.hpp"
#include "model/reference/reference.hpp"
#include "model/threads.hpp"
#include "tests/model/random_checkpoint.hpp"
#include "tests/source_dir.hpp"

namespace factflow {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

Entries entries_in(const std::string& section) {
  static const std::filesystem::path file = "x.yaml";
  return lre_kind().form().read(parse_yaml(section, file), Place{file, "lre"});
}

Prompt asked_of(std::int64_t id, const std::string& before, const std::string& subject,
                const std::string& after, const std::string& answer) {
  Prompt prompt;
  prompt.id = id;
  prompt.text = before + subject + after;
  prompt.subject = subject;
  prompt.subject_begin = static_cast<std::int64_t>(before.size());
  prompt.answer = answer;
  prompt.relation = "capital";
  return prompt;
}

std::vector<Prompt> capitals(const std::string& before = "The capital of ",
                             const std::string& after = " is") {
  std::vector<Prompt> prompts;
  for (const auto& [subject, answer] :
       {std::pair("France", " Paris"), std::pair("Japan", " Tokyo"), std::pair("Peru", " Lima"),
        std::pair("Egypt", " Cairo"), std::pair("Italy", " Rome"), std::pair("Spain", " Madrid"),
        std::pair("Greece", " Athens"), std::pair("Cuba", " Havana"),
        std::pair("Poland", " Warsaw"), std::pair("Kenya", " Nairobi"),
        std::pair("Norway", " Oslo"), std::pair("Chile", " Santiago")})
    prompts.push_back(
        asked_of(static_cast<std::int64_t>(prompts.size()) + 1, before, subject, after, answer));
  return prompts;
}

TEST(WordedRelations, AreOfOneRelationInOneWordingWithEachSubjectOnce) {
  std::vector<Prompt> prompts = capitals();
  prompts.push_back(asked_of(20, "The capital of ", "France", " is", " Lyon"));
  prompts.push_back(asked_of(21, "", "France", " is ruled from", " Paris"));
  prompts.push_back(asked_of(22, "The capital of ", "Ghana", " is", " Accra"));
  prompts.back().relation = "";
  const auto relations = worded_relations(prompts, {2, 3, 1, 6});
  ASSERT_THAT(relations, SizeIs(2));
  EXPECT_EQ(relations[0].words(), "The capital of {} is");
  EXPECT_THAT(relations[0].facts, SizeIs(12));
  EXPECT_EQ(relations[0].facts[0].answer, " Paris");
  EXPECT_THAT(relations[0].training, SizeIs(3));
  EXPECT_EQ(relations[1].words(), "{} is ruled from");
  EXPECT_THAT(relations[1].training, IsEmpty());
  EXPECT_EQ(relation_of(prompts[12], relations), &relations[0]);
  EXPECT_EQ(relation_of(prompts[13], relations), &relations[1]);
  EXPECT_EQ(relation_of(prompts[14], relations), nullptr);
}

TEST(WordedRelations, TrainingSetsDependOnTheSeedAndCoverAnswers) {
  std::vector<Prompt> prompts;
  for (int i = 0; i < 30; ++i)
    prompts.push_back(asked_of(i, "", "Land " + std::to_string(i), " speaks",
                               i < 27 ? " one" : " tongue " + std::to_string(i)));
  const auto drawn = [&](std::uint64_t seed) {
    std::vector<std::set<std::int64_t>> ids;
    const auto relation = worded_relations(prompts, {4, 2, seed, 6}).at(0);
    for (const auto& set : relation.training) {
      std::set<std::int64_t> trial;
      std::set<std::string> answers;
      for (const std::uint32_t fact : set) {
        trial.insert(relation.facts[fact].id);
        answers.insert(relation.facts[fact].answer);
        EXPECT_TRUE(relation.trains_on(ids.size(), relation.facts[fact].subject));
      }
      EXPECT_THAT(trial, SizeIs(4));
      EXPECT_THAT(answers, SizeIs(4));  // all there are, though 27 of 30 have the same
      ids.push_back(trial);
    }
    return ids;
  };
  const auto first = drawn(1);
  EXPECT_NE(first[0], first[1]);
  EXPECT_NE(first, drawn(2));
  std::reverse(prompts.begin(), prompts.end());
  EXPECT_EQ(first, drawn(1));
  const WordedRelation relation = worded_relations(prompts, {4, 2, 1, 6}).at(0);
  EXPECT_NEAR(relation.largest_share(), 0.9, 1e-12);
  EXPECT_NEAR(relation.squared_shares(), 0.81 + 3.0 / 900, 1e-12);
}

TEST(WordedRelations, PromptsStandBehindTheirExamples) {
  const auto relation = worded_relations(capitals(), {2, 1, 1, 6}).at(0);
  const Prompt prompt = behind_examples(relation, relation.facts[2], {0, 5});
  EXPECT_EQ(
      prompt.text,
      "The capital of France is Paris\nThe capital of Spain is Madrid\nThe capital of Peru is");
  EXPECT_EQ(prompt.text.substr(static_cast<std::size_t>(prompt.subject_begin)), "Peru is");
  EXPECT_EQ(prompt.answer, " Lima");
  EXPECT_EQ(behind_examples(relation, relation.facts[2], {}).text, capitals()[2].text);
}

TEST(LreSection, IsWrittenAsItIsRead) {
  for (const char* text :
       {"layers: [0, 3]\nbetas: [0, 1, 2.5, -1]\nranks: [4, 9]\ntrain: 2\ntrials: 4\nseed: 9\n"
        "examples: false\nprompts: 5\n",
        "{layers: all, ranks: off}", "{layers: coarse, ranks: coarse, betas: usual}", "{}"}) {
    SCOPED_TRACE(text);
    const Entries entries = entries_in(text);
    const YamlNode written = lre_kind().form().write(entries, Purpose::kResolved).value();
    EXPECT_EQ(static_cast<const LreConfig&>(*entries.at(0)),
              static_cast<const LreConfig&>(*entries_in(write_yaml(written)).at(0)));
  }
  EXPECT_THAT(coarse_layers(4), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(coarse_layers(64), SizeIs(11));
  EXPECT_THAT(coarse_ranks(100), ElementsAre(8, 16, 32, 64));
  EXPECT_THAT(coarse_ranks(4), ElementsAre(4));
  EXPECT_THAT(usual_betas(), SizeIs(21));
}

TEST(LreSection, RefusesWhatIsNoNumber) {
  for (const char* text : {"betas: [x]", "betas: [1, nan]", "betas: [1e9]", "betas: []",
                           "layers: [-1]", "ranks: [0]", "train: 0", "trials: 0", "seed: -1",
                           "examples: maybe", "layers: some", "layers: [1, 1]", "beta: [1]"})
    EXPECT_THROW(entries_in(std::string("{") + text + "}"), InputError) << text;
}

class Lre : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    set_threads(1, 1);
    nlohmann::json config = small_config(GetParam());
    config["vocab_size"] = 1024;
    if (config.contains("n_positions")) config["n_positions"] = 64;
    auto tensors = random_tensors(config, 7);
    // GPT-2's embeddings are its head: what it says must not be the last token again.
    for (auto& [name, tensor] : tensors)
      if (name.find("wte") != std::string::npos || name.find("wpe") != std::string::npos)
        for (float& value : tensor.values) value *= 0.05F;
    write_checkpoint(folder_.path(), config, tensors);
    ModelSource source;
    source.path = folder_.path();
    source.tokenizer = source_dir() + "/demo/models/mamba";
    model_ = std::make_unique<LoadedModel>(source, at::kCPU, Precision::kFp64, 0, "here");
    layers_ = model_->network().architecture().layers;
  }

  const Network& network() const { return model_->network(); }

  PlannedWork plan(const std::string& section) const {
    return lre_kind().plan(entries_in(section),
                           {name_, network().architecture(), Placement::kFit, file_, prompts_});
  }

  // Of all prompts, `per_unit` at a time.
  RelationResults compute(const std::string& section, std::size_t per_unit = 512) {
    const PlannedWork planned = plan(section);
    std::vector<std::uint32_t> all;
    for (std::uint32_t i = 0; i < prompts_.size(); ++i) all.push_back(i);
    const Subjects subjects{prompts_, all, {{"all", all}}, {{0, planned.asked.at(0)}}};
    const auto work = lre_kind().work_from(planned.work->bytes());
    const auto maker = work->arrays(subjects);
    const std::vector<TokenizedPrompt> tokens = model_->tokenize_usable(prompts_);
    EXPECT_EQ(tokens.size(), prompts_.size());
    findings_.clear();
    for (std::size_t begin = 0; begin < tokens.size(); begin += per_unit)
      for (Finding& one : work->compute(
               *model_, planned.asked[0],
               std::span(tokens).subspan(begin, std::min(per_unit, tokens.size() - begin))))
        findings_.push_back(std::move(one));
    for (std::size_t i = 0; i < prompts_.size(); ++i)
      if (findings_[i].failure.empty())
        maker->add(all[i], planned.asked[0], findings_[i].values);
      else
        maker->add_failed(all[i], planned.asked[0]);
    return results_of(maker->groups());
  }

  // As a reader of the file has them.
  static RelationResults results_of(const std::vector<ArrayGroup>& groups) {
    const ArrayGroup& group = groups.at(0);
    RelationResults results;
    const auto take = [&](const char* name, auto& values) {
      for (const LabelledArray& one : group.arrays)
        if (one.name == name)
          values = std::get<std::remove_reference_t<decltype(values)>>(one.values);
    };
    take("relation_of", results.relation_of);
    take("training_prompts", results.training);
    take("role", results.role);
    take("answer_rank", results.answer_rank);
    take("answer_probability", results.answer_probability);
    take("predicted", results.predicted);
    take("predicted_rank", results.predicted_rank);
    take("target", results.target);
    take("edited_rank", results.edited_rank);
    take("edited_probability", results.edited_probability);
    return results;
  }

  const Prompt& of_id(std::int64_t id) const {
    return *std::find_if(prompts_.begin(), prompts_.end(),
                         [&](const Prompt& prompt) { return prompt.id == id; });
  }
  static bool among(const std::vector<std::int64_t>& ids, std::int64_t id) {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
  }

  // The prompt behind the others of these ids, with their answers.
  TokenizedPrompt behind(const std::vector<std::int64_t>& examples, std::int64_t id) const {
    Prompt prompt = of_id(id);
    std::string lines;
    for (const std::int64_t example : examples)
      if (example != id) lines += of_id(example).text + of_id(example).answer + "\n";
    prompt.text = lines + prompt.text;
    prompt.subject_begin += static_cast<std::int64_t>(lines.size());
    return model_->tokenize_prompt(prompt);
  }

  // The answer of each prompt that is tested becomes what the model says, so that every fact is
  // known; prompts of which that is no text of its own are left out. Training sets stay as they
  // are, since no two answers are equal in them.
  void make_known(const std::string& section, bool examples) {
    const std::vector<std::int64_t> training = compute(section).training;
    std::vector<Prompt> known;
    for (Prompt prompt : prompts_) {
      if (!among(training, prompt.id)) {
        const std::vector<int> ids =
            behind(examples ? training : std::vector<std::int64_t>{}, prompt.id).ids;
        const int top = ReferenceForward(network()).log_probabilities(ids).argmax().item<int>();
        prompt.answer = model_->tokenizer().token_text(top);
        const Encoding alone = model_->tokenizer().encode(prompt.text + prompt.answer);
        if (alone.ids.empty() || alone.ids.back() != top ||
            model_->tokenize_prompt(prompt).answer != top)
          continue;
      }
      known.push_back(prompt);
    }
    prompts_ = known;
    ASSERT_GE(prompts_.size(), 8U);
  }

  const TemporaryDirectory folder_;
  const std::string name_ = "any";
  const std::filesystem::path file_ = "x.yaml";
  std::vector<Prompt> prompts_ = capitals();
  std::unique_ptr<LoadedModel> model_;
  int layers_ = 0;
  std::vector<Finding> findings_;
};

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / b.norm().clamp_min(1e-300)).item<double>();
}

TEST_P(Lre, FitsOfSeveralLayersAreThoseOfEachAlone) {
  const std::vector<RelationPrompt> prompts = {{{5, 90, 41, 7}, 2}, {{11, 300, 12, 13, 8}, 1}};
  const std::vector<int> at = {0, 1, 2, layers_};
  const std::vector<RelationFit> fits = fit_relation_at(network(), prompts, at);
  for (std::size_t k = 0; k < 3; ++k) {
    const LinearRelation alone = fit_relation(network(), prompts, at[k]);
    EXPECT_LT(largest_difference(fits[k].w, alone.w), 1e-10) << at[k];
    EXPECT_LT(largest_difference(fits[k].b, alone.b), 1e-10) << at[k];
  }
  // Behind the last layer nothing reaches the last token any more.
  EXPECT_EQ(fits[3].w.abs().max().item<double>(), 0);
  const at::Tensor vectors = at::randn({2, fits[1].w.size(0)}, at::kDouble);
  const LowRankInverses inverses(fits[1].w);
  for (const int rank : {1, 7, 10000}) {
    const at::Tensor expected = low_rank_inverse(fits[1].w, rank).matmul(vectors.t()).t();
    EXPECT_LT(largest_difference(inverses.applied(vectors, rank), expected), 1e-9) << rank;
  }
  EXPECT_EQ(LowRankInverses(fits[3].w).applied(vectors, 3).abs().max().item<double>(), 0);
  EXPECT_THROW(fit_relation_at(network(), {}, at), std::invalid_argument);
  EXPECT_THROW(fit_relation_at(network(), {{{5, 90}, 2}}, at), std::invalid_argument);
}

// A forward that begins in the middle has what their tokens carry beside the stream.
TEST(LreOfHybrids, FitsOfSeveralLayersAreThoseOfEachAlone) {
  const std::vector<RelationPrompt> prompts = {{{5, 20, 14, 7}, 2}, {{11, 3, 12, 13, 8}, 1}};
  const std::vector<int> at = {0, 1, 2};
  for (const char* name : {"rwkv7", "zamba2", "falcon_h1"}) {
    const auto network = random_network(name, 3, Precision::kFp64);
    for (const std::vector<int>& layers : {at, {1}}) {
      const std::vector<RelationFit> fits = fit_relation_at(*network, prompts, layers);
      for (std::size_t k = 0; k < layers.size(); ++k) {
        const LinearRelation alone = fit_relation(*network, prompts, layers[k]);
        EXPECT_LT(largest_difference(fits[k].w, alone.w), 1e-10) << name << " " << layers[k];
        EXPECT_LT(largest_difference(fits[k].b, alone.b), 1e-10) << name << " " << layers[k];
      }
    }
  }
}

TEST_P(Lre, FittedOnOnePromptItIsExactThere) {
  const RelationPrompt prompt{{11, 300, 12, 13, 8}, 1};
  const std::vector<int> at = {0, 1, 2};
  const std::vector<RelationFit> fits = fit_relation_at(network(), {prompt}, at);
  for (std::size_t k = 0; k < at.size(); ++k) {
    const RelationJacobian states = relation_states(network(), prompt, at[k]);
    EXPECT_LT(largest_difference(fits[k].w.mv(states.s) + fits[k].b, states.z), 1e-10) << at[k];
  }
}

TEST_P(Lre, StoresWhatTheRelationSays) {
  std::size_t edited = 0;
  for (const bool examples : {false, true}) {
    SCOPED_TRACE(examples);
    prompts_ = capitals();
    const std::vector<int> at = {0, 2}, ranks = {3, 12};
    const std::vector<double> betas = {0, 1, 2.5};
    const std::string section =
        std::string("{layers: [2, 0], betas: [2.5, 0, 1], ranks: [12, 3], train: 2, trials: 1") +
        (examples ? "}" : ", examples: false}");
    make_known(section, examples);
    const RelationResults results = compute(section);
    ASSERT_THAT(results.training, SizeIs(2));
    const auto asked = [&](std::int64_t id) {
      return behind(examples ? results.training : std::vector<std::int64_t>{}, id);
    };
    std::vector<RelationPrompt> training;
    for (const std::int64_t id : results.training)
      training.push_back({asked(id).ids, asked(id).subject.back()});
    const std::vector<LinearRelation> relations = {fit_relation(network(), training, at[0]),
                                                   fit_relation(network(), training, at[1])};
    std::set<int> constant;
    for (std::size_t i = 0; i < prompts_.size(); ++i) {
      ASSERT_EQ(findings_[i].failure, "");
      const bool trained = among(results.training, prompts_[i].id);
      EXPECT_EQ(results.role[i], trained ? 1 : 2);
      EXPECT_EQ(results.answer_rank[i], trained ? 0 : 1);
      if (trained) continue;
      constant.insert(results.predicted[i * at.size() * betas.size()]);
      const TokenizedPrompt own = asked(prompts_[i].id);
      EXPECT_NEAR(
          results.answer_probability[i],
          std::exp(
              ReferenceForward(network()).log_probabilities(own.ids)[own.answer].item<double>()),
          1e-6);
      const RelationPrompt source{own.ids, own.subject.back()};
      for (std::size_t k = 0; k < at.size(); ++k) {
        const RelationJacobian states = relation_states(network(), source, at[k]);
        for (std::size_t b = 0; b < betas.size(); ++b) {
          const at::Tensor logits = read_out(network(), relations[k].predicted(states.s, betas[b]));
          const std::size_t cell = (i * at.size() + k) * betas.size() + b;
          EXPECT_EQ(results.predicted[cell], logits.argmax().item<int>());
          EXPECT_EQ(results.predicted_rank[cell], (logits >= logits[own.answer]).sum().item<int>());
        }
        if (results.target[i] < 0) continue;
        ++edited;
        EXPECT_FALSE(among(results.training, results.target[i]));
        const TokenizedPrompt other = asked(results.target[i]);
        EXPECT_NE(own.answer, other.answer);
        const at::Tensor z = relation_states(network(), {other.ids, other.subject.back()}, at[k]).z;
        for (std::size_t r = 0; r < ranks.size(); ++r) {
          const at::Tensor shift = low_rank_inverse(relations[k].w, ranks[r]).mv(z - states.z);
          const at::Tensor log = shifted_log_probabilities(network(), source, at[k], shift);
          const std::size_t at_rank = (i * at.size() + k) * ranks.size() + r;
          EXPECT_NEAR(results.edited_probability[at_rank],
                      std::exp(log[other.answer].item<double>()), 1e-6);
          EXPECT_EQ(results.edited_rank[at_rank], (log >= log[other.answer]).sum().item<int>());
        }
      }
    }
    EXPECT_THAT(constant, SizeIs(1));  // without W s there is one answer for all
  }
  EXPECT_GT(edited, 4U);
}

// What is read behind the last layer at the prompt's own end is the answer's stream itself: z = s,
// an affine map that is the same for all subjects, whose inverse is exact.
TEST_P(Lre, AnAffineRelationIsRightOfAllAndItsInverseEditsAll) {
  prompts_ = capitals("The capital of ", "");
  const std::string section =
      "{layers: [3], betas: [1, 2], ranks: [16], train: 2, trials: 1, examples: false}";
  make_known(section, false);
  const RelationResults results = compute(section);
  std::size_t tested = 0, edited = 0;
  for (std::size_t cell = 0; cell < results.role.size(); ++cell) {
    if (results.answer_rank[cell] != 1) continue;
    ++tested;
    EXPECT_EQ(results.predicted_rank[cell * 2], 1);
    if (results.target[cell] < 0) continue;
    ++edited;
    EXPECT_EQ(results.edited_rank[cell], 1);
  }
  EXPECT_EQ(tested, prompts_.size() - 2);
  EXPECT_GT(edited, 2U);
}

TEST_P(Lre, UnitsOfAnySizeGiveTheSame) {
  const std::string section = "{layers: [1], betas: [1, 2], ranks: [5], train: 2, trials: 3}";
  make_known("{train: 2, trials: 1, ranks: off, layers: [1]}", true);
  const RelationResults whole = compute(section);
  EXPECT_THAT(whole.edited_rank, ::testing::Contains(::testing::Gt(0)));
  for (const std::size_t per_unit : {1U, 5U}) {
    const RelationResults split = compute(section, per_unit);
    EXPECT_EQ(whole.role, split.role);
    EXPECT_EQ(whole.answer_rank, split.answer_rank);
    EXPECT_EQ(whole.predicted, split.predicted);
    EXPECT_EQ(whole.predicted_rank, split.predicted_rank);
    EXPECT_EQ(whole.target, split.target);
    EXPECT_EQ(whole.edited_rank, split.edited_rank);
    for (std::size_t i = 0; i < whole.edited_probability.size(); ++i)
      if (!std::isnan(whole.edited_probability[i]))
        EXPECT_NEAR(whole.edited_probability[i], split.edited_probability[i], 1e-6);
  }
}

TEST_P(Lre, SaysWhyAPromptHasNoRelation) {
  prompts_.push_back(asked_of(30, "", "France", " is ruled from", " Paris"));
  prompts_.push_back(asked_of(31, "The capital of ", "Ghana", " is", " Accra"));
  prompts_.back().relation = "";
  const RelationResults results =
      compute("{layers: [2], betas: [1], ranks: off, train: 2, trials: 1}");
  EXPECT_EQ(findings_[12].failure,
            "the dataset has 1 subject of its relation capital in these words, 8 are needed: 2 to "
            "fit on, 6 to test");
  EXPECT_EQ(findings_[13].failure, "the dataset names no relation of the prompt");
  EXPECT_THAT(results.relation_of, ElementsAre(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, -1));
  EXPECT_THAT(results.edited_rank, IsEmpty());
}

// GPT-2 has 64 positions.
TEST_P(Lre, SaysWhyARelationCannotBeFitted) {
  if (GetParam() != "gpt2") return;
  prompts_ = capitals("The capital of the land that all of the people here call ",
                      ", as every book and every map says, is the city of");
  compute("{layers: [2], betas: [1], ranks: off, train: 3, trials: 1}");
  for (const Finding& one : findings_) EXPECT_THAT(one.failure, HasSubstr("the model takes 64"));
  EXPECT_THAT(findings_[0].failure, HasSubstr(", which its relation is fitted on: has "));
}

TEST_P(Lre, RefusesWhatTheModelOrTheDatasetDoesNotHave) {
  const auto refused = [&](const std::string& section) -> std::string {
    try {
      plan(section);
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(refused("{layers: [0, 99]}"),
              HasSubstr("x.yaml: key lre.layers: layer 99 of model any"));
  EXPECT_THAT(refused("{ranks: [4, 999]}"), HasSubstr("key lre.ranks: rank 999 of model any"));
  EXPECT_THAT(refused("{train: 7}"),
              HasSubstr("has 13 subjects in one wording; the largest has 12"));
  EXPECT_THAT(refused("[{train: 2}, {train: 3}]"),
              HasSubstr("key lre[1]: model any has other settings"));
  EXPECT_EQ(refused("[{train: 2, prompts: 3}, {train: 2}]"), "");
  EXPECT_EQ(refused("[{train: 2, models: [any]}, {train: 3, models: [other]}]"), "");
  for (Prompt& prompt : prompts_) prompt.relation = "";
  EXPECT_THAT(refused("{train: 2}"), HasSubstr("no prompt of the dataset names its relation"));
}

INSTANTIATE_TEST_SUITE_P(Models, Lre, ::testing::Values("gpt2", "llama", "mamba", "mamba2"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace factflow
