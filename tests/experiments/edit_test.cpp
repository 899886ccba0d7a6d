// The kind `edit`: what it draws from a dataset, and that what it stores of an edit is what ROME
// and the reference forward say.
#include "experiments/edit/edit.hpp"

#include <cmath>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "experiments/edit/edit_arrays.hpp"
#include "experiments/edit/edit_background.hpp"
#include "experiments/edit/fact_pool.hpp"
#include "fields/yaml_tree.hpp"
#include "model/edit/edit_slot.hpp"
#include "model/edit/memit.hpp"
#include "model/edit/rome.hpp"
#include "model/reference/reference.hpp"
#include "model/threads.hpp"
#include "results/results_file.hpp"
#include "tests/source_dir.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

Entries entries_in(const std::string& section) {
  static const std::filesystem::path file = "/some/where/x.yaml";
  return edit_kind().form().read(parse_yaml(section, file), Place{file, "edit"});
}
const EditConfig& config_of(const Entries& entries) {
  return static_cast<const EditConfig&>(*entries.at(0));
}

Prompt fact(std::int64_t id, const std::string& before, const std::string& subject,
            const std::string& after, const std::string& answer, const std::string& relation) {
  Prompt prompt;
  prompt.id = id;
  prompt.text = before + subject + after;
  prompt.subject = subject;
  prompt.subject_begin = static_cast<std::int64_t>(before.size());
  prompt.answer = answer;
  prompt.relation = relation;
  return prompt;
}

// Of several words for a fact, and several facts with the same answer.
std::vector<Prompt> some_facts() {
  std::vector<Prompt> prompts;
  std::int64_t id = 10;
  for (const auto& [subject, capital, continent] :
       {std::tuple("France", " Paris", " Europe"), std::tuple("Japan", " Tokyo", " Asia"),
        std::tuple("Italy", " Rome", " Europe"), std::tuple("Spain", " Madrid", " Europe"),
        std::tuple("Peru", " Lima", " South America")}) {
    prompts.push_back(fact(++id, "The capital of ", subject, " is", capital, "capital"));
    prompts.push_back(fact(++id, "The seat of power of ", subject, " is in", capital, "capital"));
    prompts.push_back(fact(++id, "", subject, " lies on the continent of", continent, "continent"));
  }
  for (Prompt& prompt : prompts)
    prompt.new_answer = prompt.relation == "capital" ? " Havana" : " Africa";
  return prompts;
}

// ---- what is drawn

TEST(FactPool, DrawsParaphrasesAndNeighboursOfADatasetThatNamesNone) {
  const std::vector<Prompt> prompts = some_facts();
  const FactPool pool = fact_pool(prompts, 1);
  EXPECT_THAT(pool.paraphrases(prompts[0], 9), ElementsAre("The seat of power of France is in"));
  EXPECT_THAT(pool.neighbours(prompts[0], 9), IsEmpty());  // no other country's capital is Paris
  EXPECT_THAT(
      pool.neighbours(prompts[2], 9),
      UnorderedElementsAre("Italy lies on the continent of", "Spain lies on the continent of"));
  EXPECT_THAT(pool.neighbours(prompts[2], 1), SizeIs(1));
  Prompt said = prompts[0];
  said.paraphrases = {"a", "b", "c"};
  said.neighbours = {"d", "e"};
  EXPECT_THAT(pool.paraphrases(said, 2), ElementsAre("a", "b"));
  EXPECT_THAT(pool.neighbours(said, 9), ElementsAre("d", "e"));
  EXPECT_THAT(pool.neighbours(said, 0), IsEmpty());
}

TEST(FactPool, OtherFactsAreNeitherTheFactNorItsNeighbours) {
  const std::vector<Prompt> prompts = some_facts();
  const FactPool pool = fact_pool(prompts, 1);
  const auto told = [&](size_t of, OtherFact kind) {
    std::vector<std::string> all;
    for (const Prompt* one : pool.others(prompts[of], kind, 99))
      all.push_back(one->subject + "/" + one->relation);
    return all;
  };
  EXPECT_THAT(
      told(0, OtherFact::kSameRelation),
      UnorderedElementsAre("Japan/capital", "Italy/capital", "Spain/capital", "Peru/capital"));
  EXPECT_THAT(told(2, OtherFact::kSameRelation),
              UnorderedElementsAre("Japan/continent", "Peru/continent"));
  EXPECT_THAT(told(0, OtherFact::kSameSubject), ElementsAre("France/continent"));
  EXPECT_THAT(told(0, OtherFact::kUnrelated),
              UnorderedElementsAre("Japan/continent", "Italy/continent", "Spain/continent",
                                   "Peru/continent"));
  Prompt alone = prompts[0];
  alone.relation = "";
  EXPECT_THAT(pool.others(alone, OtherFact::kSameRelation, 9), IsEmpty());
  EXPECT_THAT(pool.others(alone, OtherFact::kSameSubject, 9), IsEmpty());
}

TEST(FactPool, DependsOnTheSeedAndNotOnTheOrder) {
  std::vector<Prompt> prompts;
  for (int i = 0; i < 20; ++i)
    prompts.push_back(fact(i, "", "Land " + std::to_string(i), " is in", " Europe", "continent"));
  const auto first = [&](std::uint64_t seed) {
    const Prompt& of = *std::find_if(prompts.begin(), prompts.end(),
                                     [](const Prompt& one) { return one.id == 0; });
    return fact_pool(prompts, seed).neighbours(of, 1).at(0);
  };
  const std::string drawn = first(1);
  bool differs = false;
  for (std::uint64_t seed = 2; seed < 10; ++seed) differs = differs || first(seed) != drawn;
  EXPECT_TRUE(differs);
  std::reverse(prompts.begin(), prompts.end());
  EXPECT_EQ(first(1), drawn);
}

// ---- the section

TEST(EditSection, IsWrittenAsItIsRead) {
  const Entries entries = entries_in(
      "matrices: [W_a, W_o]\nlayers: [3, 0]\nsearch: {iterations: 7, lr: 0.25, stop_probability: "
      "1}\ncontexts: {count: 4, tokens: [3, 6]}\ncovariance: {text: ../words.txt, tokens: 500, "
      "shrinkage: 0}\nparaphrases: 1\nneighbours: 0\nothers: 3\nsave: true\nseed: 9\nprompts: "
      "5\n");
  EXPECT_EQ(config_of(entries).covariance.text.file, "/some/words.txt");
  EXPECT_THAT(config_of(entries).matrices, ElementsAre(EditedMatrix::kWa, EditedMatrix::kWo));
  for (const Entries& one : {entries, entries_in("{layers: all}"), entries_in("{prompts: 3}"),
                             entries_in("{covariance: {text: none}}")}) {
    const YamlNode written = edit_kind().form().write(one, Purpose::kResolved).value();
    EXPECT_EQ(config_of(one), config_of(entries_in(write_yaml(written)))) << write_yaml(written);
  }
  EXPECT_EQ(config_of(entries_in("{layers: all}")).layers, kAllLayers);
  const EditConfig usual = config_of(entries_in("{prompts: 3}"));
  EXPECT_EQ(usual.search, EditSearch());
  EXPECT_EQ(usual.search.iterations, 20);
  EXPECT_EQ(usual.search.settings(EditMethod::kRome).stop_prob, 0.9);
  EXPECT_EQ(usual.search.settings(EditMethod::kMemit).stop_prob, 1) << "stops nothing";
  EXPECT_EQ(config_of(entries_in("search: {stop_probability: 0.5}\n"))
                .search.settings(EditMethod::kMemit)
                .stop_prob,
            0.5);
  const Entries memit = entries_in("{method: memit, memit: {facts: 7, weight: 0.5}, layers: [1]}");
  EXPECT_EQ(config_of(memit).method, EditMethod::kMemit);
  EXPECT_EQ(config_of(memit).memit, (MemitConfig{7, 0.5}));
  EXPECT_EQ(config_of(memit), config_of(entries_in(write_yaml(
                                  edit_kind().form().write(memit, Purpose::kResolved).value()))));
  EXPECT_FALSE(usual.save);
}

TEST(EditSection, RefusesWhatIsNone) {
  const auto refused = [](const std::string& section) -> std::string {
    try {
      entries_in(section);
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(refused("matrices: W_x\n"), HasSubstr("key edit.matrices"));
  EXPECT_THAT(refused("search: {lr: 0}\n"), HasSubstr("key edit.search.lr: expected a number"));
  EXPECT_THAT(refused("search: {stop_probability: 1.5}\n"), HasSubstr("edit.search.stop_prob"));
  EXPECT_THAT(refused("contexts: {tokens: []}\n"), HasSubstr("key edit.contexts.tokens"));
  EXPECT_THAT(refused("covariance: {shrinkage: nan}\n"), HasSubstr("edit.covariance.shrinkage"));
  EXPECT_THAT(refused("covariance: {corpus: x}\n"), HasSubstr("unknown key 'corpus'"));
  EXPECT_THAT(refused("others: 0\n"), HasSubstr("key edit.others"));
  EXPECT_THAT(refused("method: memo\n"), HasSubstr("key edit.method"));
  EXPECT_THAT(refused("memit: {facts: 513}\n"), HasSubstr("key edit.memit.facts"));
}

// ---- the results file

TEST(EditArrays, AreReadAsTheyAreWritten) {
  const TemporaryDirectory scratch;
  EditResults r;
  r.settings = {{"method", std::string("rome")},
                {"covariance", std::string("file")},
                {"covariance_source", std::string("/words.txt")},
                {"context_start", std::string("<|endoftext|>")},
                {"covariance_tokens", std::int64_t{1000}},
                {"seed", std::int64_t{7}},
                {"iterations", std::int64_t{20}},
                {"stop_probability_after", std::int64_t{12}},
                {"shrinkage", 0.05},
                {"lr", 0.5},
                {"weight_decay", 0.25},
                {"clamp_factor", 3.0},
                {"kl_factor", 0.0625},
                {"stop_loss", 0.05},
                {"stop_probability", 0.9}};
  r.edits = {"memit W_o 0-1, 3", "W_a 0"};
  r.methods = {"memit", "rome"};
  r.matrices = {"W_o", "W_a"};
  r.layers = {3, 0};
  r.all_layers = {"0 1 3", "0"};
  r.groups = {11, 11, -1};
  r.outcomes = {1, 1, -1, 0, 1, -2};
  r.prompts = {11, 12, 13};
  r.subjects = r.true_answers = r.new_answers = r.essences = r.tokens = r.new_tokens =
      r.true_tokens = {"a", "b", ""};
  r.subject_last = {3, 4, -1};
  r.question_kinds = {EditQuestion::kRewrite, EditQuestion::kParaphrase, EditQuestion::kNeighbour,
                      EditQuestion::kNeighbour};
  r.other_kinds = {OtherFact::kSameRelation, OtherFact::kUnrelated};
  r.contexts = {"", " It", " It"};
  r.context_tokens = {"", "5", "5"};
  r.sets = {"first", "second"};
  r.members = {1, 1, 0, 0, 1, 1};
  r.asked = {1, 0, 1, 1};
  float next = 0;
  const auto numbers = [&next](size_t count) {
    std::vector<float> all;
    for (size_t i = 0; i < count; ++i) all.push_back(next += 0.5F);
    return all;
  };
  r.question_texts.assign(12, "Who?");
  for (auto* j : {&r.before, &r.after}) {
    const size_t count = j == &r.before ? 12 : 24;
    j->new_nll = numbers(count);
    j->true_nll = numbers(count);
    j->new_greedy.assign(count, 1);
    j->true_greedy.assign(count, 0);
  }
  r.steps = {1, 2, 3, 4, 5, -1};
  r.clamped = {0, 1, 0, 1, 0, -1};
  for (auto* one : {&r.loss, &r.nll, &r.kl, &r.mean_prob, &r.delta_norm, &r.value_norm,
                    &r.key_product, &r.update_norm})
    *one = numbers(6);
  r.other_prompts = {12, 13, 11, -1, 11, 12};
  r.other_log_before = numbers(6);
  r.other_log_change = numbers(12);
  r.other_kl = numbers(12);
  r.other_top_changed.assign(12, 1);
  const EditFactors factors{1,         "W_a 0", "W_a", false,      {0},
                            r.prompts, 2,       4,     numbers(6), numbers(12)};
  const EditFactors spread{0, "memit W_o 0-1, 3", "W_o",      true, {0, 1, 3}, r.prompts, 2,
                           4, numbers(18),        numbers(36)};

  const auto write = [&](const EditResults& results) {
    RunInfo info;
    info.name = "x";
    info.models = {"m"};
    PromptTable table{{11, 12, 13}, {"", "", ""}, {"", "", ""}, {"", "", ""}, {"", "", ""}, {}};
    ResultsWriter writer(scratch / "results.h5", info, table);
    ModelInfo model;
    model.name = "m";
    model.layers = 4;
    model.hidden_size = model.vocabulary = 8;
    writer.begin_model(model);
    writer.write(arrays_of(results));
    writer.write(arrays_of(factors));
    writer.write(arrays_of(spread));
    writer.publish({});
  };
  write(r);
  const ResultsReader reader(scratch / "results.h5");
  ASSERT_TRUE(has_edits(reader, "m"));
  const EditResults read = read_edits(reader, "m");
  EXPECT_EQ(read.settings, r.settings);
  EXPECT_EQ(read.edits, r.edits);
  EXPECT_EQ(read.layers, r.layers);
  EXPECT_EQ(read.question_kinds, r.question_kinds);
  EXPECT_EQ(read.other_kinds, r.other_kinds);
  EXPECT_THAT(read.question_names(),
              ElementsAre("rewrite 1", "paraphrase 1", "neighbour 1", "neighbour 2"));
  EXPECT_EQ(read.before.true_nll, r.before.true_nll);
  EXPECT_EQ(read.after.new_nll, r.after.new_nll);
  EXPECT_EQ(read.after.new_greedy, r.after.new_greedy);
  EXPECT_EQ(read.other_kl, r.other_kl);
  EXPECT_EQ(read.update_norm, r.update_norm);
  EXPECT_EQ(read.contexts, r.contexts);
  EXPECT_TRUE(read.counts(0, 0, 1));
  EXPECT_FALSE(read.counts(0, 1, 1));
  EXPECT_TRUE(read.counts(1, 1, 2));
  EXPECT_FALSE(read.counts(1, 0, 0));
  EXPECT_EQ(read.methods, r.methods);
  EXPECT_EQ(read.groups, r.groups);
  EXPECT_EQ(read.outcomes, r.outcomes);
  EXPECT_THAT(read.layers_of(0), ElementsAre(0, 1, 3));
  EXPECT_EQ(read.edited(0), "memit W_o");
  EXPECT_EQ(read.edited(1), "W_a");
  EXPECT_THAT(edits_with_factors(reader, "m"), ElementsAre(0, 1));
  const EditFactors several = read_edit_factors(reader, "m", 0);
  EXPECT_TRUE(several.together);
  EXPECT_EQ(several.layers, spread.layers);
  EXPECT_EQ(several.u, spread.u);
  EXPECT_EQ(several.r, spread.r);
  const EditFactors vectors = read_edit_factors(reader, "m", 1);
  EXPECT_EQ(vectors.u, factors.u);
  EXPECT_EQ(vectors.r, factors.r);
  EXPECT_EQ(vectors.name, "W_a 0");
  EXPECT_EQ(vectors.layers, factors.layers);
  EXPECT_FALSE(vectors.together);
  EXPECT_EQ(layers_in_words({2, 3, 4, 6, 8, 9}), "2-4, 6, 8-9");
  r.layers = {3, 1};
  write(r);
  EXPECT_THROW(read_edits(ResultsReader(scratch / "results.h5"), "m"), InputError);
}

// ---- edits

std::vector<int> ids_in(const std::string& words) {
  std::istringstream stream(words);
  std::vector<int> ids;
  for (int id = 0; stream >> id;) ids.push_back(id);
  return ids;
}

class Edit : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    set_threads(1, 1);
    prompts_ = some_facts();
    ModelSource source;
    source.path = source.tokenizer = source_dir() + "/demo/models/" + GetParam();
    model_ = std::make_unique<LoadedModel>(source, at::kCPU, Precision::kFp64, 0, "here");
  }

  std::string matrix() const {
    return GetParam() == "gpt2" || GetParam() == "llama" ? "W_down" : "W_o";
  }

  PlannedWork plan(const std::string& section, Precision precision = Precision::kFp64) const {
    return edit_kind().plan(entries_in(section), {name_, model_->network().architecture(),
                                                  Placement::kFit, file_, prompts_, precision});
  }
  std::string refused(const std::string& section, Precision precision = Precision::kFp64) const {
    try {
      plan(section, precision);
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  }

  // Edits those of `chosen` prompts, `together` a unit.
  void compute(const PlannedWork& planned, const std::vector<std::uint32_t>& chosen,
               size_t together = 99) {
    const Subjects subjects{prompts_, chosen, {{"all", chosen}}, {{0, planned.asked.at(0)}}};
    const auto work = edit_kind().work_from(planned.work->bytes());
    const auto maker = work->arrays(subjects);
    findings_.clear();
    for (size_t begin = 0; begin < chosen.size(); begin += together) {
      std::vector<Prompt> unit;
      for (size_t i = begin; i < std::min(begin + together, chosen.size()); ++i)
        unit.push_back(prompts_[chosen[i]]);
      const auto found = work->compute(*model_, planned.asked[0], model_->tokenize_usable(unit));
      findings_.insert(findings_.end(), found.begin(), found.end());
    }
    ASSERT_EQ(findings_.size(), chosen.size());
    for (size_t i = 0; i < chosen.size(); ++i)
      if (findings_[i].failure.empty())
        maker->add(chosen[i], planned.asked[0], findings_[i].values);
      else
        maker->add_failed(chosen[i], planned.asked[0]);
    groups_ = maker->groups();
    warnings_ = maker->warnings();
  }

  template <class T>
  std::vector<T> array(const std::string& path, const std::string& name) const {
    for (const ArrayGroup& group : groups_)
      if (group.path == path)
        for (const LabelledArray& one : group.arrays)
          if (one.name == name) return std::get<std::vector<T>>(one.values);
    throw std::out_of_range(path + "/" + name);
  }
  std::string text(const std::string& name, size_t at) const {
    return array<std::string>("edit", name).at(at);
  }

  // What the kind says that it asked, as a request of its own.
  EditRequest request_as_stored(size_t row) const { return request_as_stored(row, row); }
  EditRequest request_as_stored(size_t row, size_t prompt) const {
    EditRequest request;
    request.prompt = ids_in(text("tokens", row));
    request.subject_last = array<std::int32_t>("edit", "subject_last").at(row);
    request.target = ids_in(text("new_tokens", row));
    for (const std::string& ids : array<std::string>("edit", "context_tokens"))
      request.contexts.push_back(ids_in(ids));
    Prompt behind = prompts_[prompt];
    behind.text = ". " + behind.text;
    behind.subject_begin += 2;
    const TokenizedPrompt continued = model_->tokenize_prompt(behind);
    request.continued = continued.ids;
    request.continued_subject_last = continued.subject.back();
    Prompt essence = prompts_[prompt];
    essence.text = text("essence", row);
    essence.subject_begin = 0;
    const TokenizedPrompt tokens = model_->tokenize_prompt(essence);
    request.essence = tokens.ids;
    request.essence_subject_last = tokens.subject.back();
    return request;
  }

  // Mean of -log p over an answer's tokens, by one whole forward.
  double nll(const std::vector<int>& prompt, const std::vector<int>& answer) const {
    std::vector<int> ids = prompt;
    double sum = 0;
    for (const int id : answer) {
      sum -= ReferenceForward(model_->network()).log_probabilities(ids)[id].item<double>();
      ids.push_back(id);
    }
    return sum / static_cast<double>(answer.size());
  }

  const std::string name_ = "any";
  const std::filesystem::path file_ = "/some/where/x.yaml";
  std::vector<Prompt> prompts_;
  std::unique_ptr<LoadedModel> model_;
  std::vector<Finding> findings_;
  std::vector<ArrayGroup> groups_;
  std::vector<std::string> warnings_;
};

constexpr const char* kQuick =
    "search: {iterations: 4}\ncontexts: {count: 2, tokens: [2, 3]}\nlayers: [2]\n"
    "covariance: {text: dataset, shrinkage: 0.1}\nothers: 1\nsave: true\n";

TEST_P(Edit, StoresWhatRomeAndTheReferenceForwardSay) {
  const PlannedWork planned = plan(kQuick);
  Network& network = model_->network();
  const EditedMatrix edited = parse_edited_matrix(matrix());
  const EditSlot slot(network, edited, 2);
  const at::Tensor weight = slot.weight().clone();
  const std::uint32_t chosen = 2;  // the continent of France, which has neighbours
  compute(planned, {0, 1, chosen});
  ASSERT_EQ(findings_[chosen].failure, "");
  EXPECT_TRUE(at::equal(weight, slot.weight())) << "an edit is left behind";

  KeyStatistics statistics{std::vector<std::vector<int>>(), 0.1};
  for (const Prompt& prompt : prompts_)
    statistics.runs->push_back(model_->tokenizer().encode(prompt.text).ids);
  EditSettings settings;
  settings.iterations = 4;
  const EditRequest request = request_as_stored(chosen);
  EXPECT_THAT(request.contexts, ElementsAre(IsEmpty(), SizeIs(2), SizeIs(3)));
  const RomeEdit edit = rome_edit(network, edited, 2, request, statistics, settings);
  const auto near = [](const std::vector<float>& all, size_t row, const at::Tensor& expected) {
    const auto size = static_cast<std::int64_t>(expected.numel());
    const at::Tensor stored =
        at::tensor(all).narrow(0, static_cast<std::int64_t>(row) * size, size).to(at::kDouble);
    return (stored - expected).norm().item<double>() / expected.norm().item<double>();
  };
  EXPECT_LT(near(array<float>("edit_factors_0", "u"), chosen, edit.u), 1e-5);
  EXPECT_LT(near(array<float>("edit_factors_0", "r"), chosen, edit.r), 1e-5);
  const auto number = [&](const char* name) {
    return static_cast<double>(array<float>("edit", name).at(chosen));
  };
  EXPECT_NEAR(number("loss"), edit.trace.back().loss, 1e-5);
  EXPECT_NEAR(number("delta_norm") / edit.trace.back().delta_norm, 1, 1e-5);
  EXPECT_NEAR(number("value_norm") / edit.v0.norm().item<double>(), 1, 1e-5);
  EXPECT_NEAR(number("update_norm") / edit.delta().norm().item<double>(), 1, 1e-5);
  EXPECT_NEAR(number("key_product") / edit.u.dot(edit.k0).item<double>(), 1, 1e-5);
  EXPECT_EQ(array<std::int32_t>("edit", "steps").at(chosen), 3);

  // The first other prompt of each kind.
  std::vector<std::vector<int>> others;
  std::vector<int> answers;
  for (size_t i = 0; i < 3; ++i) {
    const std::int64_t id = array<std::int64_t>("edit", "other_prompt").at(chosen * 3 + i);
    const auto prompt = std::find_if(prompts_.begin(), prompts_.end(),
                                     [&](const Prompt& one) { return one.id == id; });
    ASSERT_NE(prompt, prompts_.end());
    const TokenizedPrompt tokens = model_->tokenize_prompt(*prompt);
    others.push_back(tokens.ids);
    answers.push_back(tokens.answer);
  }
  const std::vector<int> new_ids = ids_in(text("new_tokens", chosen)),
                         true_ids = ids_in(text("true_tokens", chosen));
  EXPECT_EQ(true_ids.front(), model_->tokenize_prompt(prompts_[chosen]).answer);
  constexpr size_t kQuestions = 13;
  const auto check_questions = [&](const std::string& suffix) {
    int asked = 0;
    for (size_t q = 0; q < kQuestions; ++q) {
      const std::string question = text("question_text", chosen * kQuestions + q);
      const float stored = array<float>("edit", "new_nll" + suffix).at(chosen * kQuestions + q);
      if (question.empty()) {
        EXPECT_TRUE(std::isnan(stored));
        continue;
      }
      ++asked;
      const std::vector<int> ids = model_->tokenizer().encode(question).ids;
      EXPECT_NEAR(stored, nll(ids, new_ids), 1e-4) << question;
      EXPECT_NEAR(array<float>("edit", "true_nll" + suffix).at(chosen * kQuestions + q),
                  nll(ids, true_ids), 1e-4)
          << question;
    }
    EXPECT_EQ(asked, 3);  // the prompt and two neighbours
  };
  const auto log_p = [&](size_t i) {
    return ReferenceForward(network).log_probabilities(others[i]).clone();
  };
  std::vector<at::Tensor> before;
  for (size_t i = 0; i < 3; ++i) before.push_back(log_p(i));
  check_questions("_before");
  const AppliedEdit applied(network, slot, edit.delta());
  check_questions("");
  for (size_t i = 0; i < 3; ++i) {
    const at::Tensor after = log_p(i);
    const auto stored = [&](const char* name) {
      return array<float>("edit", name).at(chosen * 3 + i);
    };
    EXPECT_NEAR(stored("other_log_before"), before[i][answers[i]].item<double>(), 1e-4);
    EXPECT_NEAR(stored("other_log_change"), (after - before[i])[answers[i]].item<double>(), 1e-4);
    const double kl = (before[i].exp() * (before[i] - after)).sum().item<double>();
    EXPECT_NEAR(stored("other_kl"), kl, 1e-4);
    EXPECT_EQ(array<std::int32_t>("edit", "other_top_changed").at(chosen * 3 + i),
              before[i].argmax().item<int>() == after.argmax().item<int>() ? 0 : 1);
  }
}

constexpr const char* kQuickMemit =
    "method: memit\nmemit: {facts: 3, weight: 0.5}\nsearch: {iterations: 3}\n"
    "contexts: {count: 1, tokens: [2]}\nlayers: [3, 1]\n"
    "covariance: {text: dataset, shrinkage: 0.1}\nothers: 2\nsave: true\n";

TEST_P(Edit, StoresWhatMemitAndTheReferenceForwardSay) {
  prompts_[1].new_answer = "";  // no part of the edit
  const PlannedWork planned = plan(kQuickMemit);
  Network& network = model_->network();
  const EditedMatrix edited = parse_edited_matrix(matrix());
  const at::Tensor weight = EditSlot(network, edited, 1).weight().clone();
  const std::vector<std::uint32_t> chosen = {0, 1, 2, 6};
  compute(planned, chosen);
  EXPECT_TRUE(at::equal(weight, EditSlot(network, edited, 1).weight())) << "an edit is left behind";
  EXPECT_THAT(findings_[1].failure, HasSubstr("no other answer"));
  EXPECT_THAT(array<std::string>("edit", "layers"), ElementsAre("1 3"));
  EXPECT_THAT(array<std::int64_t>("edit", "group"),
              ElementsAre(prompts_[0].id, -1, prompts_[0].id, prompts_[0].id));
  EXPECT_THAT(array<std::int32_t>("edit", "outcome"), ElementsAre(1, -1, 1, 1));

  std::vector<EditRequest> requests;
  for (const size_t row : {0, 2, 3}) requests.push_back(request_as_stored(row, chosen[row]));
  MemitPlan by_hand{edited, {1, 3}, {}, 0.1, 0.5};
  for (const Prompt& prompt : prompts_)
    by_hand.runs.push_back(model_->tokenizer().encode(prompt.text).ids);
  EditSettings settings;
  settings.iterations = 3;
  settings.stop_prob = std::nullopt;
  const MemitEdit edit = memit_edit(network, by_hand, requests, settings);
  std::vector<std::unique_ptr<AppliedEdit>> applied;
  double squares = 0;
  for (size_t layer = 0; layer < 2; ++layer) {
    const MemitStep& step = edit.steps[layer];
    const auto u = at::tensor(array<float>("edit_factors_0", "u")).view({4, 2, -1}),
               r = at::tensor(array<float>("edit_factors_0", "r")).view({4, 2, -1});
    const at::Tensor rows = at::tensor(std::vector<std::int64_t>{0, 2, 3});
    const auto part = [&](const at::Tensor& all) {
      return all.index_select(0, rows).select(1, static_cast<std::int64_t>(layer)).to(at::kDouble);
    };
    const at::Tensor delta = step.delta();
    EXPECT_LT((part(r).t().matmul(part(u)) - delta).norm().item<double>(),
              1e-5 * delta.norm().item<double>());
    squares += delta.square().sum().item<double>();
    applied.push_back(
        std::make_unique<AppliedEdit>(network, EditSlot(network, edited, step.layer), delta));
  }
  for (size_t fact = 0; fact < 3; ++fact) {
    const size_t row = std::vector<size_t>{0, 2, 3}[fact];
    EXPECT_NEAR(array<float>("edit", "new_nll").at(row * 13),
                nll(requests[fact].prompt, requests[fact].target), 1e-4);
    EXPECT_NEAR(array<float>("edit", "update_norm").at(row) / std::sqrt(squares), 1, 1e-5);
    EXPECT_NEAR(array<float>("edit", "loss").at(row), edit.traces[fact].back().loss, 1e-5);
    EXPECT_TRUE(std::isnan(array<float>("edit", "key_product").at(row)));
  }
  // What is written beside a fact is none of those that should stay: Italy lies in Europe as well.
  for (const std::int64_t id : array<std::int64_t>("edit", "other_prompt"))
    EXPECT_THAT(id, ::testing::AllOf(::testing::Ne(prompts_[0].id), ::testing::Ne(prompts_[2].id),
                                     ::testing::Ne(prompts_[6].id)));
}

TEST_P(Edit, MemitsFactsAreOneUnitThatIsNeverSplit) {
  const PlannedWork planned = plan(kQuickMemit);
  const UnitLimits limits = planned.work->limits(planned.asked[0]);
  EXPECT_EQ(limits.largest, 3U);
  EXPECT_EQ(limits.smallest, 3U);
  EXPECT_TRUE(limits.whole);
  EXPECT_EQ(planned.work->describe(planned.asked[0]), "edits, memit " + matrix() + " 1, 3");
  EXPECT_GT(planned.work->bytes_of_prompt(planned.asked[0], 10).results, 0);
  const PlannedWork alone = plan(kQuick);
  EXPECT_FALSE(alone.work->limits(alone.asked[0]).whole);
  EXPECT_THAT(refused("method: memit\n"), HasSubstr("key edit.layers: model any: memit spreads"));
  EXPECT_THAT(refused("{layers: [1], memit: {facts: 3}}"),
              HasSubstr("key edit.memit: this entry's method is rome"));
  EXPECT_EQ(refused("[{layers: [1]}, {method: memit, layers: [1, 2], memit: {facts: 3}}]"), "");
  EXPECT_THAT(refused("[{method: memit, layers: [1]}, {method: memit, layers: [2], memit: {facts: "
                      "3}}]"),
              HasSubstr("key edit[1].memit: model any has other settings"));
  if (matrix() == "W_o") {
    EXPECT_THAT(refused("{method: memit, layers: [1], matrices: [W_g]}"),
                HasSubstr("memit edits what adds to the stream, W_o or W_down, not W_g"));
  }
}

TEST_P(Edit, DoesNotDependOnWhatElseIsInTheUnit) {
  if (GetParam() == "llama") GTEST_SKIP() << "one Transformer is enough";
  const PlannedWork planned = plan(kQuick);
  compute(planned, {0, 2, 5}, 3);
  const std::vector<float> together = array<float>("edit", "new_nll"),
                           update = array<float>("edit", "update_norm");
  compute(planned, {0, 2, 5}, 1);
  const std::vector<float> alone = array<float>("edit", "new_nll");
  ASSERT_EQ(alone.size(), together.size());
  for (size_t i = 0; i < alone.size(); ++i)
    if (std::isnan(alone[i])) {
      EXPECT_TRUE(std::isnan(together[i]));
    } else {
      EXPECT_NEAR(alone[i], together[i], 1e-6);
    }
  EXPECT_THAT(array<float>("edit", "update_norm"),
              ::testing::Pointwise(::testing::FloatNear(1e-5F), update));
}

TEST_P(Edit, SaysWhyAPromptCannotBeEdited) {
  if (GetParam() != "mamba") GTEST_SKIP() << "no matter of the family";
  prompts_[1].new_answer = "";
  prompts_[2].new_answer = prompts_[2].answer;
  compute(plan(kQuick), {0, 1, 2});
  EXPECT_EQ(findings_[0].failure, "");
  EXPECT_THAT(findings_[1].failure, HasSubstr("no other answer"));
  EXPECT_THAT(findings_[2].failure, HasSubstr("its new answer is the one that it has"));
  const std::vector<float> nll = array<float>("edit", "new_nll");
  EXPECT_FALSE(std::isnan(nll[0]));
  EXPECT_TRUE(std::isnan(nll[13]));
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("ten tokens for each")));
}

TEST_P(Edit, RefusesWhatCannotBe) {
  const bool mamba = matrix() == "W_o";
  EXPECT_THAT(
      refused("matrices: " + std::string(mamba ? "W_down" : "W_g") + "\n"),
      AllOf(HasSubstr("x.yaml: key edit.matrices: model any: layer "), HasSubstr("has no matrix")));
  EXPECT_THAT(refused("{matrices: [" + std::string(mamba ? "W_down" : "W_g") + "], layers: all}"),
              HasSubstr("no layer has a matrix"));
  EXPECT_THAT(refused("layers: [1, 99]\n"), HasSubstr("key edit.layers: model any: there is no "
                                                      "layer 99; the model has 12"));
  EXPECT_THAT(refused("covariance: {text: /no/such/file}\n"),
              HasSubstr("key edit.covariance.text: /no/such/file"));
  EXPECT_THAT(
      refused("layers: [1]\n", Precision::kBf16),
      HasSubstr("key run.precision: edits are computed in fp32, tf32 or fp64, not in bf16"));
  EXPECT_EQ(refused("layers: [1]\n", Precision::kTf32), "");
  EXPECT_THAT(refused("[{layers: [1], seed: 1}, {layers: [2], seed: 2}]"),
              HasSubstr("has other settings in an earlier entry"));
  EXPECT_EQ(refused("[{layers: [1], prompts: 3}, {layers: [2]}]"), "");
}

TEST_P(Edit, EditsWhatItIsAskedFor) {
  const auto planned = [&](const std::string& section) {
    const PlannedWork work = plan(section);
    return work.work->describe(work.asked.at(0));
  };
  EXPECT_EQ(planned("{prompts: 2}"), "edits, " + matrix() + " 3");
  const PlannedWork all = plan("layers: all\n");
  EXPECT_THAT(all.asked.at(0), SizeIs(12));
  EXPECT_GE(all.work->limits(all.asked[0]).smallest, 1U);
  if (matrix() == "W_o") {
    EXPECT_EQ(planned("{matrices: [W_a, W_g, W_o], layers: [4]}"), "edits, W_a 4, W_g 4, W_o 4");
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Edit, ::testing::Values("gpt2", "llama", "mamba", "mamba2"),
                         [](const auto& test) { return test.param; });

// ---- texts and keys

class Background : public ::testing::Test {
 protected:
  static LoadedModel loaded(const std::string& name) {
    ModelSource source;
    source.path = source.tokenizer = source_dir() + "/demo/models/" + name;
    return {source, at::kCPU, Precision::kFp64, 0, "here"};
  }
};

TEST_F(Background, IsTheSameOnEveryRankAndDependsOnTheSeed) {
  set_threads(1, 1);
  const MatrixAt places[] = {
      {EditedMatrix::kWo, 1}, {EditedMatrix::kWa, 1}, {EditedMatrix::kWg, 1}};
  EditConfig config;
  config.contexts = {3, {2, 4}};
  config.covariance.tokens = 20;
  LoadedModel one = loaded("mamba"), other = loaded("mamba");
  const EditBackground a = edit_background(one, config, places, {"x"}),
                       b = edit_background(other, config, places, {"x"});
  EXPECT_THAT(a.contexts, ElementsAre(IsEmpty(), SizeIs(2), SizeIs(4), SizeIs(2)));
  EXPECT_EQ(a.contexts, b.contexts);
  EXPECT_EQ(a.context_start, "<|endoftext|>");
  EXPECT_EQ(a.covariance_tokens, 20);
  EXPECT_EQ(a.covariance_digest, b.covariance_digest);
  for (const MatrixAt& place : places)
    EXPECT_TRUE(at::equal(a.covariances.at(place), b.covariances.at(place)));
  config.seed = 2;
  EXPECT_NE(edit_background(one, config, places, {"x"}).covariance_digest, a.covariance_digest);
}

TEST_F(Background, ReadsATextFileAndWantsTheTokensThatAreAskedFor) {
  set_threads(1, 1);
  const TemporaryDirectory scratch;
  const std::vector<std::string> texts = {"The capital of France is Paris", "Japan is in Asia"};
  EditConfig config;
  config.contexts.count = 0;
  config.covariance.text = {KeyText::Source::kFile,
                            scratch.write("t.txt", texts[0] + "\n\n  \n" + texts[1]).string()};
  LoadedModel model = loaded("gpt2");
  const MatrixAt places[] = {{EditedMatrix::kWdown, 3}};
  const EditBackground background = edit_background(model, config, places, {"x"});
  std::vector<std::vector<int>> runs;
  std::int64_t tokens = 0;
  for (const std::string& text : texts) {
    runs.push_back(model.tokenizer().encode(text).ids);
    tokens += static_cast<std::int64_t>(runs.back().size());
  }
  EXPECT_EQ(background.covariance_tokens, tokens);
  EXPECT_EQ(background.context_start, "");
  const at::Tensor expected =
      key_covariance(EditSlot(model.network(), EditedMatrix::kWdown, 3), runs, 0.05);
  EXPECT_LT((background.covariances.at(places[0]) - expected).abs().max().item<double>(),
            1e-9 * expected.abs().max().item<double>());
  config.covariance.tokens = tokens + 1;
  EXPECT_THROW(
      {
        try {
          edit_background(model, config, places, {"x"});
        } catch (const InputError& error) {
          EXPECT_THAT(error.what(), AllOf(HasSubstr("t.txt: has "), HasSubstr("asks for more")));
          throw;
        }
      },
      InputError);
}

}  // namespace
}  // namespace factflow
