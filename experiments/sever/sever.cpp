#include "experiments/sever/sever.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/counterfactual_draw.hpp"
#include "model/check_intervention.hpp"
#include "model/locate_interventions.hpp"

namespace factflow {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr double kBytesPerCell = 12;  // a probability, a rank, a log change

// An item of what is asked: every layer of one token and one severing. It has no window series.
struct SeveredCurveSpec {
  SeveredAt at = SeveredAt::kSubjectLast;
  SeveredSites severed;
  bool operator==(const SeveredCurveSpec&) const = default;
};
template <class Archive>
void serialize(Archive& archive, SeveredCurveSpec& s) {
  archive(s.at, s.severed);
}

struct SeverPlan {
  std::vector<SeveredCurveSpec> curves;
  int layers = 0;  // of the model; h has one more
  CounterfactualDraw draw;
};
template <class Archive>
void serialize(Archive& archive, SeverPlan& p) {
  archive(p.curves, p.layers, p.draw);
}

// What is found about one fact: [asked curve][layer].
struct PromptPaths {
  TracedFacts::Found fact;
  std::vector<std::vector<float>> probability, log_change;
  std::vector<std::vector<std::int32_t>> rank;
};
template <class Archive>
void serialize(Archive& archive, PromptPaths& p) {
  archive(p.fact, p.probability, p.log_change, p.rank);
}

int token_of(SeveredAt at, const TokenizedPrompt& prompt) {
  return at == SeveredAt::kSubjectLast ? prompt.subject.back()
                                       : static_cast<int>(prompt.ids.size()) - 1;
}

// ---- results

class SeverArrays final : public ArrayMaker {
 public:
  SeverArrays(const SeverPlan& plan, const Subjects& subjects) : plan_(plan) {
    for (const std::uint32_t prompt : subjects.asked) {
      places_[prompt] = paths_.prompts.size();
      paths_.prompts.push_back(subjects.prompts[prompt].id);
    }
    facts_ = no_facts(paths_.prompts);
    for (const SeveredCurveSpec& curve : plan.curves) {
      add_once(to_string(curve.at), paths_.at);
      add_once(to_string(curve.severed), paths_.severed);
    }
    for (int layer = 0; layer <= plan.layers; ++layer) paths_.layers.push_back(layer);
    const std::size_t cells =
        paths_.at.size() * paths_.severed.size() * paths_.prompts.size() * paths_.layers.size();
    paths_.probability.assign(cells, kNaN);
    paths_.log_change = paths_.probability;
    paths_.rank.assign(cells, 0);
  }

  void add(std::uint32_t prompt, const Asked& asked, const std::string& values) override {
    const auto found = from_bytes<PromptPaths>(values, "a severed path");
    const std::size_t place = places_.at(prompt);
    facts_.set(place, found.fact);
    for (std::size_t i = 0; i < asked.size(); ++i) {
      const SeveredCurveSpec& curve = plan_.curves.at(asked[i].item);
      const auto first = static_cast<std::ptrdiff_t>(
          paths_.cell(index_of(to_string(curve.at), paths_.at),
                      index_of(to_string(curve.severed), paths_.severed), place));
      const auto copy = [&](const auto& from, auto& to) {
        std::copy_n(from.at(i).begin(), paths_.layers.size(), to.begin() + first);
      };
      copy(found.probability, paths_.probability);
      copy(found.log_change, paths_.log_change);
      copy(found.rank, paths_.rank);
    }
  }

  std::vector<ArrayGroup> groups() override {
    return plan_.curves.empty() ? std::vector<ArrayGroup>{} : arrays_of(facts_, paths_);
  }

 private:
  static void add_once(const std::string& name, std::vector<std::string>& names) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  static std::size_t index_of(const std::string& name, const std::vector<std::string>& names) {
    return static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
  }

  const SeverPlan& plan_;
  std::map<std::uint32_t, std::size_t> places_;  // by prompt
  TracedFacts facts_;
  SeveredPaths paths_;
};

// ---- work

class SeverWork final : public Work {
 public:
  explicit SeverWork(SeverPlan plan) : plan_(std::move(plan)) {}
  std::string bytes() const override { return to_bytes(plan_); }

  std::string describe(const Asked& asked) const override {
    std::vector<std::string> names;
    for (const AskedItem& one : asked) {
      const SeveredCurveSpec& curve = plan_.curves.at(one.item);
      names.push_back(fmt::format("{} at {}", to_string(curve.severed), to_string(curve.at)));
    }
    return fmt::format("severed paths, {}", fmt::join(names, ", "));
  }
  std::string summary() const override {
    return plan_.curves.empty()
               ? ""
               : counted(plan_.curves.size(), "curve of severed paths", "curves of severed paths");
  }

  // A path starts in the layer of its patch.
  std::vector<Replays> replays(const Asked& asked, double) const override {
    std::vector<Window> windows;
    for (int layer = 0; layer <= plan_.layers; ++layer) windows.push_back({layer, layer + 1});
    return {{static_cast<double>(asked.size()), windows}};
  }
  PromptBytes bytes_of_prompt(const Asked& asked, double) const override {
    PromptPaths sample;
    const auto layers = static_cast<std::size_t>(plan_.layers) + 1;
    sample.probability.assign(asked.size(), std::vector<float>(layers));
    sample.log_change = sample.probability;
    sample.rank.assign(asked.size(), std::vector<std::int32_t>(layers));
    return {static_cast<double>(asked.size() * layers) * kBytesPerCell,
            static_cast<double>(to_bytes(sample).size())};
  }

  std::vector<Prompt> references(std::span<const TokenizedPrompt> prompts) const override {
    std::vector<Prompt> all;
    for (const TokenizedPrompt& prompt : prompts)
      for (Prompt& other : plan_.draw.of(prompt)) all.push_back(std::move(other));
    return all;
  }

  // Without a counterpart the prompt is its own, which changes nothing.
  ReplayRequest request(const Asked& asked, const TokenizedPrompt& prompt,
                        std::span<const TokenizedPrompt> references) const override {
    const TokenizedPrompt* other = counterpart_in(references, prompt);
    return request(asked, prompt, (other == nullptr ? prompt : *other).ids);
  }
  Finding record(const LoadedModel&, const Asked&, const TokenizedPrompt&,
                 std::span<const TokenizedPrompt>, const ReplayResult&) const override {
    throw std::logic_error("a severed path is made of two results");
  }

  std::vector<Finding> compute(LoadedModel& model, const Asked& asked,
                               std::span<const TokenizedPrompt> prompts) const override {
    std::vector<std::optional<Counterpart>> others;
    std::vector<ReplayRequest> requests;
    for (const TokenizedPrompt& prompt : prompts)
      if (const auto& other = others.emplace_back(plan_.draw.counterpart(model, prompt))) {
        requests.push_back({prompt.ids, prompt.answer});
        requests.push_back(request(asked, prompt, other->tokens.ids));
      }
    const std::vector<ReplayResult> results = model.replay(requests);
    std::vector<Finding> findings;
    for (std::size_t i = 0, next = 0; i < prompts.size(); ++i) {
      if (!others[i]) {
        findings.push_back({plan_.draw.no_counterpart(prompts[i]), ""});
        continue;
      }
      findings.push_back(found(prompts[i], *others[i], results[next], results[next + 1]));
      next += 2;
    }
    return findings;
  }

  std::unique_ptr<ArrayMaker> arrays(const Subjects& subjects) const override {
    return std::make_unique<SeverArrays>(plan_, subjects);
  }

 private:
  // A series for each asked curve and layer.
  ReplayRequest request(const Asked& asked, const TokenizedPrompt& prompt,
                        const std::vector<int>& corrupted) const {
    ReplayRequest request{corrupted, prompt.answer};
    for (const AskedItem& one : asked) {
      const SeveredCurveSpec& curve = plan_.curves.at(one.item);
      for (int layer = 0; layer <= plan_.layers; ++layer) {
        const SeveredPath path{curve.severed, token_of(curve.at, prompt), layer};
        request.series.emplace_back(interventions_of(path, plan_.layers, prompt.ids, corrupted),
                                    std::nullopt);
      }
    }
    return request;
  }

  Finding found(const TokenizedPrompt& prompt, const Counterpart& other, const ReplayResult& clean,
                const ReplayResult& corrupted) const {
    if (!is_finite(clean) || !is_finite(corrupted)) return {kNotFinite, ""};
    PromptPaths paths;
    paths.fact = found_fact(prompt, other, clean.clean, corrupted.clean);
    const auto layers = static_cast<std::size_t>(plan_.layers) + 1;
    for (std::size_t i = 0; i < corrupted.knockouts.size(); ++i) {
      if (i % layers == 0) {
        paths.probability.emplace_back();
        paths.log_change.emplace_back();
        paths.rank.emplace_back();
      }
      // Rank 0: nothing was to be done.
      const Answer& patch = corrupted.knockouts[i].at(0);
      const Answer& answer = patch.rank == 0 ? corrupted.clean : patch;
      paths.probability.back().push_back(static_cast<float>(std::exp(answer.log_probability)));
      paths.log_change.back().push_back(
          static_cast<float>(answer.log_probability - corrupted.clean.log_probability));
      paths.rank.back().push_back(answer.rank);
    }
    return {"", to_bytes(paths)};
  }

  SeverPlan plan_;
};

// ---- the section

SeveredSites parse_severed(const std::string& given) {
  std::set<Site> sites;
  for (std::size_t begin = 0; begin <= given.size();) {
    const std::size_t end = std::min(given.find('+', begin), given.size());
    const Site site = parse_site(given.substr(begin, end - begin));
    if (site == Site::kH) throw InputError("", "h is what is patched", "sever other sites");
    if (!sites.insert(site).second)
      throw InputError("", fmt::format("names {} twice", to_string(site)));
    begin = end + 1;
  }
  return {sites.begin(), sites.end()};
}

Fields<SeverConfig> sever_fields() {
  using T = SeverConfig;
  Fields<T> fields = {
      field("at", &T::at,
            list_of(one_of<SeveredAt>(
                "token", {{to_string(SeveredAt::kSubjectLast), SeveredAt::kSubjectLast},
                          {to_string(SeveredAt::kPromptLast), SeveredAt::kPromptLast}})),
            "token whose h is patched: the last one of the subject, of the prompt"),
      field("sever", &T::sever,
            word_or("all", std::vector<SeveredSites>{},
                    list_of(text_form("a site, or several as o+mlp", parse_severed,
                                      [](const SeveredSites& sites) { return to_string(sites); }))),
            "sites that are cut at that token, beside the patch alone; all: s, g and o of a Mamba; "
            "o, mlp and o+mlp of a Transformer"),
  };
  for (Field<T>& more : draw_fields<T>()) fields.push_back(std::move(more));
  for (Field<T>& more : whom_fields<T>()) fields.push_back(std::move(more));
  return fields;
}

// ---- the kind

// Throws std::invalid_argument for a site that some layer does not have.
void check_severed(const Architecture& architecture, const SeveredSites& severed) {
  std::vector<Window> everywhere;
  for (int layer = 0; layer < architecture.layers; ++layer)
    everywhere.push_back({layer, layer + 1});
  std::vector<Intervention> writes;
  for (const Site site : severed) writes.emplace_back(written(site, {}, {0}, Zero{}));
  InterventionCheck(architecture).series(Series(writes, everywhere));
}

class SeverKind final : public ExperimentKind {
 public:
  std::string name() const override { return "sever"; }
  std::uint32_t number() const override { return 6; }

  std::string section() const override { return "sever"; }
  Form<Entries> form() const override { return section_form(sever_form()); }

  PlannedWork plan(const Entries& entries, const ModelToPlan& model) const override {
    SeverPlan plan;
    plan.layers = model.architecture.layers;
    PlannedWork planned;
    DrawOfEntries draw(section(), entries.size(), model);
    for (std::size_t i = 0; i < entries.size(); ++i) {
      Asked& asked = planned.asked.emplace_back();
      const auto& entry = static_cast<const SeverConfig&>(*entries[i]);
      if (!is_for(entry, model.name)) continue;
      draw.add(i, entry.candidates, entry.seed);
      asked = asked_by(entry, key_in_entry(section(), i, entries.size(), "sever"), model, plan);
    }
    plan.draw = draw.take();
    planned.work = std::make_shared<SeverWork>(std::move(plan));
    return planned;
  }
  std::shared_ptr<const Work> work_from(const std::string& bytes) const override {
    return std::make_shared<SeverWork>(from_bytes<SeverPlan>(bytes, "the plan of severed paths"));
  }

  std::string progress(const PromptCount& count, std::uint32_t asked) const override {
    return asked == 0 ? "no prompt with paths to sever"
                      : in_words(count, asked, "selected prompt", "with paths severed");
  }

 private:
  static Asked asked_by(const SeverConfig& entry, const std::string& key, const ModelToPlan& model,
                        SeverPlan& plan) {
    for (const SeveredSites& sites : entry.sever) try {
        check_severed(model.architecture, sites);
      } catch (const std::invalid_argument& error) {
        throw InputError(model.file.string(),
                         fmt::format("key {}: model {}: {}", key, model.name, error.what()),
                         "leave the site to models that have it by an entry with models: [...]");
      }
    std::vector<SeveredSites> all = {{}};
    for (SeveredSites& sites : entry.sever.empty() ? sites_to_sever(model.architecture)
                                                   : std::vector<SeveredSites>(entry.sever))
      all.push_back(std::move(sites));
    Asked asked;
    for (const SeveredAt at : entry.at)
      for (const SeveredSites& sites : all) {
        const SeveredCurveSpec curve{at, sites};
        const auto found = std::find(plan.curves.begin(), plan.curves.end(), curve);
        asked.push_back({static_cast<std::uint32_t>(found - plan.curves.begin()), {}});
        if (found == plan.curves.end()) plan.curves.push_back(curve);
      }
    std::sort(asked.begin(), asked.end());
    return asked;
  }
};

}  // namespace

std::string to_string(const SeveredSites& sites) {
  std::vector<std::string> names;
  for (const Site site : sites) names.push_back(to_string(site));
  return names.empty() ? kNothingSevered : fmt::format("{}", fmt::join(names, "+"));
}

std::vector<SeveredSites> sites_to_sever(const Architecture& architecture) {
  const std::vector<Site> there = architecture.sites();
  const bool gated = std::find(there.begin(), there.end(), Site::kG) != there.end();
  std::vector<SeveredSites> all;
  for (const SeveredSites& sites :
       gated ? std::vector<SeveredSites>{{Site::kS},
                                         {Site::kSAttention},
                                         {Site::kSRecurrent},
                                         {Site::kG},
                                         {Site::kO},
                                         {Site::kOAttention},
                                         {Site::kORecurrent}}
             : std::vector<SeveredSites>{{Site::kO}, {Site::kMlp}, {Site::kO, Site::kMlp}})
    try {
      check_severed(architecture, sites);
      all.push_back(sites);
    } catch (const std::invalid_argument&) {  // a hybrid's layer has none
    }
  return all;
}

Form<std::vector<SeverConfig>> sever_form() {
  return one_or_several(section(sever_fields()));
}

const ExperimentKind& sever_kind() {
  static const SeverKind kind;
  return kind;
}

}  // namespace factflow
