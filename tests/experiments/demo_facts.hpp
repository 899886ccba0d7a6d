// Eight capitals and a model of the demo kit, of which the tests of kinds ask something.
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <typeinfo>
#include <utility>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "experiments/experiment.hpp"
#include "fields/yaml_tree.hpp"
#include "model/reference/reference.hpp"
#include "model/threads.hpp"
#include "tests/source_dir.hpp"

namespace factflow {

inline Prompt capital_of(std::int64_t id, const std::string& subject, const std::string& answer) {
  Prompt prompt;
  prompt.id = id;
  prompt.text = "The capital of " + subject + " is";
  prompt.subject = subject;
  prompt.subject_begin = 15;
  prompt.answer = answer;
  prompt.relation = "capital";
  return prompt;
}

// The parameter is the name of a demo model.
class DemoFacts : public ::testing::TestWithParam<std::string> {
 protected:
  explicit DemoFacts(const ExperimentKind& kind) : kind_(kind) {}

  void SetUp() override {
    set_threads(1, 1);
    std::int64_t id = 0;
    for (const auto& [subject, answer] :
         {std::pair("France", " Paris"), std::pair("Japan", " Tokyo"), std::pair("Peru", " Lima"),
          std::pair("Egypt", " Cairo"), std::pair("Italy", " Rome"), std::pair("Spain", " Madrid"),
          std::pair("Kenya", " Nairobi"), std::pair("Cuba", " Havana")})
      prompts_.push_back(capital_of(++id, subject, answer));
    if (!shares_models()) {
      model_ = load();
      return;
    }
    static std::map<std::string, std::shared_ptr<LoadedModel>> loaded;
    std::shared_ptr<LoadedModel>& model = loaded[typeid(*this).name() + GetParam()];
    if (!model) model = load();
    model_ = model;
  }

  // Whether a model is loaded once for all tests of a program: none changes it.
  virtual bool shares_models() const { return true; }
  virtual std::shared_ptr<LoadedModel> load() const {
    ModelSource source;
    source.path = source.tokenizer = model_directory();
    return load_from(source);
  }
  static std::shared_ptr<LoadedModel> load_from(const ModelSource& source) {
    return std::make_shared<LoadedModel>(source, at::kCPU, Precision::kFp64, 0, "here");
  }

  virtual std::string model_directory() const {
    return source_dir() + "/demo/models/" + GetParam();
  }

  Entries entries_in(const std::string& section) const {
    return kind_.form().read(parse_yaml(section, file_), Place{file_, kind_.section()});
  }
  PlannedWork plan(const std::string& section) const {
    return kind_.plan(entries_in(section),
                      {name_, model_->network().architecture(), Placement::kFit, file_, prompts_});
  }
  // What is said of a section that is refused; "" if it is not.
  std::string refused(const std::string& section) const {
    try {
      plan(section);
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  }

  // The same of a run of this model alone.
  std::string refused_for_all(const std::string& section) const {
    const ModelOfRun run = {
        {name_, model_->network().architecture(), Placement::kFit, file_, prompts_},
        [this](const Prompt& prompt) { return model_->tokenize_prompt(prompt); }};
    try {
      kind_.check(entries_in(section), {&run, 1});
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  }

  void compute(const PlannedWork& planned) {
    std::vector<std::uint32_t> all;
    for (std::uint32_t i = 0; i < prompts_.size(); ++i) all.push_back(i);
    const Subjects subjects{prompts_, all, {{"all", all}}, {{0, planned.asked.at(0)}}};
    const auto work = kind_.work_from(planned.work->bytes());
    const auto maker = work->arrays(subjects);
    findings_ = work->compute(*model_, planned.asked[0], model_->tokenize_usable(prompts_));
    for (size_t i = 0; i < prompts_.size(); ++i)
      if (findings_[i].failure.empty())
        maker->add(all[i], planned.asked[0], findings_[i].values);
      else
        maker->add_failed(all[i], planned.asked[0]);
    groups_ = maker->groups();
  }

  const ArrayGroup& group(const std::string& path) const {
    for (const ArrayGroup& one : groups_)
      if (one.path == path) return one;
    throw std::out_of_range(path);
  }
  template <class T>
  const std::vector<T>& array(const std::string& path, const std::string& name) const {
    for (const LabelledArray& one : group(path).arrays)
      if (one.name == name) return std::get<std::vector<T>>(one.values);
    throw std::out_of_range(path + "/" + name);
  }
  template <class T>
  const std::vector<T>& axis(const std::string& path, const std::string& name) const {
    for (const ArrayAxis& one : group(path).axes)
      if (one.name == name) return std::get<std::vector<T>>(one.values);
    throw std::out_of_range(path + "/" + name);
  }

  double probability(const std::vector<int>& ids, int answer,
                     const std::vector<Intervention>& interventions = {}) const {
    const ReferenceForward reference(model_->network());
    return std::exp(reference.log_probabilities(ids, interventions)[answer].item<double>());
  }
  TokenizedPrompt tokens_of(size_t fact) const {
    return model_->tokenize_usable({prompts_[fact]}).at(0);
  }
  // The prompt about another subject, which array GROUP/counterfactual names.
  TokenizedPrompt counterpart(const std::string& path, size_t fact) const {
    Prompt other = prompts_[fact];
    other.subject = array<std::string>(path, "counterfactual")[fact];
    other.text = "The capital of " + other.subject + " is";
    return model_->tokenize_usable({other}).at(0);
  }
  int layers() const { return model_->network().architecture().layers; }

  const ExperimentKind& kind_;
  const std::string name_ = "any";
  const std::filesystem::path file_ = "x.yaml";
  std::vector<Prompt> prompts_;
  std::shared_ptr<LoadedModel> model_;
  std::vector<Finding> findings_;
  std::vector<ArrayGroup> groups_;
};

}  // namespace factflow
