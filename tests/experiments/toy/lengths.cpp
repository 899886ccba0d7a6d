#include "tests/experiments/toy/lengths.hpp"

#include <cmath>
#include <limits>
#include <map>

#include "experiments/bytes.hpp"

namespace factflow {
namespace {

struct LengthsConfig : Entry {
  bool operator==(const LengthsConfig&) const = default;
};

struct PromptLength {
  std::int32_t tokens = 0;
  float probability = 0;
};
template <class Archive>
void serialize(Archive& archive, PromptLength& p) {
  archive(p.tokens, p.probability);
}

class LengthArrays final : public ArrayMaker {
 public:
  explicit LengthArrays(const Subjects& subjects) : subjects_(subjects) {}

  void add(std::uint32_t prompt, const Asked&, const std::string& values) override {
    found_[prompt] = from_bytes<PromptLength>(values, "a length");
  }

  std::vector<ArrayGroup> groups() override {
    if (subjects_.asked.empty()) return {};
    std::vector<std::int64_t> ids;
    std::vector<std::int32_t> tokens;
    std::vector<float> probability;
    for (const std::uint32_t prompt : subjects_.asked) {
      const auto one = found_.find(prompt);
      const bool there = one != found_.end();
      ids.push_back(subjects_.prompts[prompt].id);
      tokens.push_back(there ? one->second.tokens : 0);
      probability.push_back(there ? one->second.probability
                                  : std::numeric_limits<float>::quiet_NaN());
    }
    ArrayGroup group{"lengths"};
    group.axes = {{"prompt", ids, {"1", "id of the prompt in the dataset"}}};
    group.arrays = {
        {"tokens", {"prompt"}, tokens, {"token", "length of the prompt; 0 = not computed"}},
        {"probability",
         {"prompt"},
         probability,
         {"1", "probability of the answer's token when nothing is done; NaN = not computed"}}};
    return {group};
  }

 private:
  const Subjects& subjects_;
  std::map<std::uint32_t, PromptLength> found_;  // by prompt
};

class LengthsWork final : public Work {
 public:
  std::string bytes() const override { return ""; }
  std::string describe(const Asked&) const override { return "lengths"; }
  std::vector<Replays> replays(const Asked&, double) const override { return {}; }
  UnitLimits limits(const Asked&) const override { return {1, 1}; }  // many units
  PromptBytes bytes_of_prompt(const Asked&, double) const override {
    return {8, static_cast<double>(to_bytes(PromptLength{}).size())};
  }
  ReplayRequest request(const Asked&, const TokenizedPrompt& prompt,
                        std::span<const TokenizedPrompt>) const override {
    return {prompt.ids, prompt.answer, {}};
  }
  Finding record(const LoadedModel&, const Asked&, const TokenizedPrompt& prompt,
                 std::span<const TokenizedPrompt>, const ReplayResult& result) const override {
    return {"", to_bytes(PromptLength{static_cast<std::int32_t>(prompt.ids.size()),
                                      static_cast<float>(std::exp(result.clean.log_probability))})};
  }
  std::unique_ptr<ArrayMaker> arrays(const Subjects& subjects) const override {
    return std::make_unique<LengthArrays>(subjects);
  }
};

class LengthsKind final : public ExperimentKind {
 public:
  std::string name() const override { return "lengths"; }
  std::uint32_t number() const override { return 15; }
  std::string section() const override { return "lengths"; }
  Form<Entries> form() const override {
    return section_form(one_or_several(factflow::section(whom_fields<LengthsConfig>())));
  }
  PlannedWork plan(const Entries& entries, const ModelToPlan& model) const override {
    PlannedWork planned{std::make_shared<LengthsWork>(), {}};
    for (const std::shared_ptr<const Entry>& entry : entries)
      planned.asked.push_back(is_for(*entry, model.name) ? Asked{{0, {}}} : Asked{});
    return planned;
  }
  std::shared_ptr<const Work> work_from(const std::string&) const override {
    return std::make_shared<LengthsWork>();
  }
  std::string progress(const PromptCount& count, std::uint32_t asked) const override {
    return asked == 0 ? "" : "lengths of " + in_words(count, asked, "prompt", "taken");
  }
};

}  // namespace

const ExperimentKind& lengths_kind() {
  static const LengthsKind kind;
  return kind;
}

}  // namespace factflow
