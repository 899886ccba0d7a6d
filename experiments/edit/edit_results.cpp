#include "experiments/edit/edit_results.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.hpp"

namespace factflow {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::string to_string(KeyText::Source source) {
  switch (source) {
    case KeyText::Source::kSampled:
      return "sampled";
    case KeyText::Source::kDataset:
      return "dataset";
    case KeyText::Source::kFile:
      return "file";
    case KeyText::Source::kNone:
      break;
  }
  return "none";
}

class EditArrays final : public ArrayMaker {
 public:
  EditArrays(const EditPlan& plan, const Subjects& subjects) : plan_(plan), subjects_(subjects) {
    for (const std::uint32_t prompt : subjects.asked) {
      places_[prompt] = results_.prompts.size();
      results_.prompts.push_back(subjects.prompts[prompt].id);
      results_.subjects.push_back(subjects.prompts[prompt].subject);
      results_.true_answers.push_back(subjects.prompts[prompt].answer);
      results_.new_answers.push_back(subjects.prompts[prompt].new_answer);
    }
    name_axes();
    name_sets();
    make_room();
  }

  void add(std::uint32_t prompt, const Asked& asked, const std::string& values) override {
    const auto found = from_bytes<PromptEdits>(values, "edits of a prompt");
    const std::size_t place = places_.at(prompt);
    note_background(found);
    results_.groups[place] = found.group;
    results_.essences[place] = found.essence;
    results_.subject_last[place] = found.subject_last;
    results_.tokens[place] = in_words(found.tokens);
    results_.new_tokens[place] = in_words(found.new_tokens);
    results_.true_tokens[place] = in_words(found.true_tokens);
    const std::vector<std::size_t> questions = places_of(found.questions),
                                   others = places_of(found.others);
    const std::size_t first = place * plan_.questions();
    for (std::size_t q = 0; q < questions.size(); ++q)
      results_.question_texts[first + questions[q]] = found.texts.at(q);
    put(results_.before, first, questions, found.before);
    const std::size_t first_other = place * plan_.others();
    put(results_.other_prompts, first_other, others, found.other_ids);
    put(results_.other_log_before, first_other, others, found.other_log_before);
    for (std::size_t i = 0; i < asked.size(); ++i)
      add_edit(asked[i].item, place, questions, others, found.edits.at(i));
  }

  void add_failed(std::uint32_t prompt, const Asked& asked) override {
    for (const AskedItem& one : asked)
      put_outcome(one.item, places_.at(prompt), EditOutcome::kFailed);
  }

  std::vector<ArrayGroup> groups() override {
    if (plan_.places.empty()) return {};
    results_.settings = settings();
    std::vector<ArrayGroup> groups = {arrays_of(results_)};
    for (const EditFactors& factors : factors_) groups.push_back(arrays_of(factors));
    return groups;
  }

  std::vector<std::string> warnings() const override {
    std::vector<std::string> lines;
    std::int64_t widest = 0;
    for (const EditPlace& place : plan_.places) widest = std::max(widest, place.size.in);
    const std::int64_t tokens = background_ ? background_->covariance_tokens : 0;
    if (tokens > 0 && tokens < kTokensPerNumber * widest)
      lines.push_back(fmt::format(
          "the second moments of keys of {} numbers are those of {} tokens; ten tokens for each "
          "number are the least that says something: edits may move more than they should",
          widest, tokens));
    if (!not_finite_.empty())
      lines.push_back(fmt::format("edits that are no finite numbers are left out: {}",
                                  fmt::join(not_finite_, ", ")));
    return lines;
  }

 private:
  void name_axes() {
    for (std::size_t i = 0; i < plan_.places.size(); ++i) {
      const EditPlace& place = plan_.places[i];
      results_.edits.push_back(plan_.name(i));
      results_.methods.push_back(to_string(place.method));
      results_.matrices.push_back(to_string(place.matrix));
      results_.layers.push_back(place.layers.back());
      results_.all_layers.push_back(in_words(place.layers));
    }
    results_.question_kinds = {EditQuestion::kRewrite};
    const auto add = [](auto& kinds, auto kind, int count) {
      kinds.insert(kinds.end(), static_cast<std::size_t>(count), kind);
    };
    add(results_.question_kinds, EditQuestion::kParaphrase, plan_.config.paraphrases);
    add(results_.question_kinds, EditQuestion::kNeighbour, plan_.config.neighbours);
    for (const OtherFact kind : kOtherFacts) add(results_.other_kinds, kind, plan_.config.others);
  }

  void name_sets() {
    const std::size_t prompts = results_.prompts.size(), edits = results_.edits.size();
    std::vector<std::optional<std::size_t>> sets;
    for (const Subjects::Set& set : subjects_.sets) {
      results_.sets.push_back(set.name);
      std::vector<std::int32_t> members(prompts, 0);
      for (const std::uint32_t prompt : set.members)
        if (const auto found = places_.find(prompt); found != places_.end())
          members[found->second] = 1;
      results_.members.insert(results_.members.end(), members.begin(), members.end());
    }
    results_.asked.assign(results_.sets.size() * edits, 0);
    for (const Subjects::OfEntry& entry : subjects_.entries)
      for (const AskedItem& one : entry.asked)
        for (std::size_t set = 0; set < results_.sets.size(); ++set)
          if (!entry.set || *entry.set == set) results_.asked[set * edits + one.item] = 1;
  }

  void make_room() {
    const std::size_t prompts = results_.prompts.size(), edits = results_.edits.size(),
                      all = prompts * edits;
    const auto judged = [](EditJudgement& j, std::size_t count) {
      j.new_nll.assign(count, kNaN);
      j.true_nll.assign(count, kNaN);
      j.new_greedy.assign(count, -1);
      j.true_greedy.assign(count, -1);
    };
    for (auto* texts :
         {&results_.essences, &results_.tokens, &results_.new_tokens, &results_.true_tokens})
      texts->assign(prompts, "");
    results_.subject_last.assign(prompts, -1);
    results_.groups.assign(prompts, kAlone);
    results_.outcomes.assign(all, static_cast<std::int32_t>(EditOutcome::kNone));
    results_.question_texts.assign(prompts * plan_.questions(), "");
    judged(results_.before, prompts * plan_.questions());
    judged(results_.after, all * plan_.questions());
    for (auto* numbers : {&results_.steps, &results_.clamped}) numbers->assign(all, -1);
    for (auto* numbers :
         {&results_.loss, &results_.nll, &results_.kl, &results_.mean_prob, &results_.delta_norm,
          &results_.value_norm, &results_.key_product, &results_.update_norm})
      numbers->assign(all, kNaN);
    results_.other_prompts.assign(prompts * plan_.others(), -1);
    results_.other_log_before.assign(prompts * plan_.others(), kNaN);
    results_.other_log_change.assign(all * plan_.others(), kNaN);
    results_.other_kl.assign(all * plan_.others(), kNaN);
    results_.other_top_changed.assign(all * plan_.others(), -1);
    if (!plan_.config.save) return;
    for (std::size_t i = 0; i < edits; ++i) {
      const EditPlace& place = plan_.places[i];
      factors_.push_back({static_cast<std::int64_t>(i), results_.edits[i], results_.matrices[i],
                          place.together(), place.layers, results_.prompts, place.size.in,
                          place.size.out,
                          std::vector(prompts * static_cast<std::size_t>(place.in()), kNaN),
                          std::vector(prompts * static_cast<std::size_t>(place.out()), kNaN)});
    }
  }

  template <class Kind>
  std::vector<std::size_t> places_of(
      const std::vector<std::pair<Kind, std::int32_t>>& numbered) const {
    std::vector<std::size_t> places;
    for (const auto& [kind, number] : numbered) places.push_back(plan_.place_of(kind, number));
    return places;
  }

  template <class T>
  static void put(std::vector<T>& all, std::size_t first, const std::vector<std::size_t>& places,
                  const std::vector<T>& values) {
    for (std::size_t i = 0; i < places.size(); ++i) all.at(first + places[i]) = values.at(i);
  }
  static void put(EditJudgement& all, std::size_t first, const std::vector<std::size_t>& places,
                  const JudgedAnswers& values) {
    put(all.new_nll, first, places, values.new_nll);
    put(all.true_nll, first, places, values.true_nll);
    put(all.new_greedy, first, places, values.new_greedy);
    put(all.true_greedy, first, places, values.true_greedy);
  }

  void put_outcome(std::uint32_t item, std::size_t prompt, EditOutcome outcome) {
    results_.outcomes.at(results_.at(item, prompt)) = static_cast<std::int32_t>(outcome);
  }

  void add_edit(std::uint32_t item, std::size_t prompt, const std::vector<std::size_t>& questions,
                const std::vector<std::size_t>& others, const EditFound& found) {
    put_outcome(item, prompt, found.finite ? EditOutcome::kEdited : EditOutcome::kNoNumbers);
    if (!found.finite) {
      not_finite_.push_back(
          fmt::format("{} of prompt {}", plan_.name(item), results_.prompts[prompt]));
      return;
    }
    const std::size_t cell = results_.at(item, prompt);
    results_.steps[cell] = found.steps;
    results_.clamped[cell] = found.clamped;
    results_.loss[cell] = found.loss;
    results_.nll[cell] = found.nll;
    results_.kl[cell] = found.kl;
    results_.mean_prob[cell] = found.mean_prob;
    results_.delta_norm[cell] = found.delta_norm;
    results_.value_norm[cell] = found.value_norm;
    results_.key_product[cell] = found.key_product;
    results_.update_norm[cell] = found.update_norm;
    put(results_.after, cell * plan_.questions(), questions, found.after);
    const std::size_t first = cell * plan_.others();
    put(results_.other_log_change, first, others, found.other_log_change);
    put(results_.other_kl, first, others, found.other_kl);
    put(results_.other_top_changed, first, others, found.other_top_changed);
    if (factors_.empty()) return;
    EditFactors& factors = factors_.at(item);
    const auto row = [&](std::vector<float>& all, const std::vector<float>& values) {
      std::copy(values.begin(), values.end(),
                all.begin() + static_cast<std::ptrdiff_t>(prompt * values.size()));
    };
    row(factors.u, found.u);
    row(factors.r, found.r);
  }

  // Every unit has computed the same, or their edits are not of one kind.
  void note_background(const PromptEdits& found) {
    if (!background_) {
      background_ = Background{found.contexts, found.context_start, found.covariance_tokens,
                               found.covariance_digest};
      results_.contexts = found.context_texts;
      for (const std::vector<std::int32_t>& ids : found.contexts)
        results_.context_tokens.push_back(in_words(ids));
    }
    if (background_->contexts != found.contexts ||
        background_->covariance_digest != found.covariance_digest)
      throw RunError(
          "edits of one model were made with different texts: the text file of edit: {covariance: "
          "{text: FILE}} has changed, or devices that round differently sampled them; start a new "
          "run");
  }

  static std::string in_words(const std::vector<std::int32_t>& ids) {
    return fmt::format("{}", fmt::join(ids, " "));
  }

  decltype(EditResults::settings) settings() const {
    const EditConfig& c = plan_.config;
    const bool text = c.covariance.text.source != KeyText::Source::kNone;
    decltype(EditResults::settings) all = {
        {"method", methods()},
        {"covariance", to_string(c.covariance.text.source)},
        {"covariance_source", c.covariance.text.file},
        {"context_start", background_ ? background_->context_start : ""},
        {"covariance_tokens", background_ ? background_->covariance_tokens : std::int64_t{0}},
        {"seed", static_cast<std::int64_t>(c.seed)},
        {"iterations", std::int64_t{c.search.iterations}},
        {"stop_probability_after", std::int64_t{c.search.stop_probability_after}},
        {"shrinkage", text ? c.covariance.shrinkage : 0.0},
        {"lr", c.search.lr},
        {"weight_decay", c.search.weight_decay},
        {"clamp_factor", c.search.clamp_factor},
        {"kl_factor", c.search.kl_factor},
        {"stop_loss", c.search.stop_loss},
        {"stop_probability", stop_probability()}};
    if (!has(EditMethod::kMemit)) return all;
    all.insert(all.begin() + 8, {kMemitFacts, std::int64_t{c.memit.facts}});
    all.emplace_back(kMemitWeight, c.memit.weight);
    return all;
  }

  // "rome", "memit", "rome, memit"
  std::string methods() const {
    std::string words;
    for (const EditMethod method : {EditMethod::kRome, EditMethod::kMemit})
      if (has(method)) words += (words.empty() ? "" : ", ") + to_string(method);
    return words;
  }
  bool has(EditMethod method) const {
    return std::any_of(plan_.places.begin(), plan_.places.end(),
                       [&](const EditPlace& place) { return place.method == method; });
  }
  double stop_probability() const {
    const EditMethod method = has(EditMethod::kRome) ? EditMethod::kRome : EditMethod::kMemit;
    return *plan_.config.search.settings(method).stop_prob;
  }

  struct Background {
    std::vector<std::vector<std::int32_t>> contexts;
    std::string context_start;
    std::int64_t covariance_tokens = 0;
    std::uint64_t covariance_digest = 0;
  };

  const EditPlan& plan_;
  const Subjects& subjects_;
  std::map<std::uint32_t, std::size_t> places_;  // by prompt
  EditResults results_;
  std::vector<EditFactors> factors_;  // [edit]; empty: they are not kept
  std::optional<Background> background_;
  std::vector<std::string> not_finite_;
};

}  // namespace

std::unique_ptr<ArrayMaker> edit_array_maker(const EditPlan& plan, const Subjects& subjects) {
  return std::make_unique<EditArrays>(plan, subjects);
}

}  // namespace factflow
