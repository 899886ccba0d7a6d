#include "pipeline/run/one_run.hpp"

#include <filesystem>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/experiment.hpp"
#include "experiments/intervene/intervene.hpp"
#include "model/check_intervention.hpp"

namespace factflow {
namespace {

const std::filesystem::path kCall = "the call";

[[noreturn]] void refuse(const std::string& key, const std::string& problem,
                         const std::string& remedy = "") {
  throw InputError(kCall.string(), key + ": " + problem, remedy);
}

// What the model checks says what it has instead.
template <class Check>
void possible(const std::string& key, const Check& check) {
  try {
    check();
  } catch (const std::invalid_argument& error) {
    refuse(key, error.what());
  }
}

// One after the other, since a window would ask layers between them too.
std::vector<Window> windows_of_layers(const std::vector<int>& layers) {
  std::vector<Window> windows;
  for (const int layer : layers) windows.push_back({layer, layer + 1});
  return windows;
}

class OneRunner {
 public:
  OneRunner(const Prompt& prompt, LoadedModel& model)
      : model_(model),
        architecture_(model.network().architecture()),
        prompt_(model.tokenize_prompt(prompt)),
        request_{prompt_.ids, prompt_.answer} {}

  void act(const std::vector<ActionInLayers>& actions) {
    std::vector<Intervention> together;
    for (std::size_t i = 0; i < actions.size(); ++i)
      add(actions[i], fmt::format("interventions[{}]", i), together);
    if (!together.empty()) request_.series.emplace_back(std::move(together), std::nullopt);
  }

  void read(const std::vector<AskedRead>& reads) {
    for (std::size_t i = 0; i < reads.size(); ++i) add(reads[i], fmt::format("reads[{}]", i));
  }

  OneRun run(bool self_check) {
    if (self_check) {
      ReplayRequest unread = request_;
      unread.reads.clear();
      model_.check_self({unread});
    }
    const ReplayResult result = std::move(model_.replay({request_}, 0, ReadsOn::kDevice).at(0));
    if (!is_finite(result)) throw RunError(kNotFinite);
    OneRun run{result.clean, result.clean, touched_, {}, {}};
    if (!request_.series.empty()) run.answer = result.knockouts.at(0).at(0);
    if (run.answer.rank == 0)
      refuse("interventions", "change nothing in this prompt",
             "`factflow check` lists sites and edges");
    for (const int id : prompt_.ids) run.tokens.push_back(model_.tokenizer().token_text(id));
    std::size_t next = 0;
    for (const Asked& asked : asked_) run.reads.push_back(values_of(asked, result, next));
    return run;
  }

 private:
  struct Asked {
    std::string key;
    std::vector<int> layers, tokens;
  };

  void add(const ActionInLayers& action, const std::string& key,
           std::vector<Intervention>& together) {
    const Place place{kCall, key};
    if (action.layers.empty()) refuse(key, "names no layer", "give layers=...");
    std::vector<TokenizedPrompt> others;
    for (const Prompt& other : action.others) others.push_back(model_.tokenize_prompt(other));
    for (RowSpec& row : rows_of(row_form().read(parse_yaml(action.row, kCall), place), {})) {
      check(row, others, key);
      possible(key, [&] { fit_to(architecture_, windows_of_layers(action.layers), row); });
      RowInPrompt found = in_prompt(row, prompt_, others, 0, architecture_.taps());
      if (found.touched == 0)
        refuse(key,
               fmt::format("{} touches nothing in {}", row.name, in_quotes(prompt_.prompt.text)),
               row.needs(ValueSpec::Kind::kResample)
                   ? "both prompts must have such tokens, and not all tokens the same"
                   : "name tokens that the prompt has");
      touched_ += found.touched;
      for (Intervention& one : found.interventions) {
        std::visit([&](auto& in) { in.layers = action.layers; }, one);
        possible(key, [&] { check_intervention(architecture_, one); });
        together.push_back(std::move(one));
      }
    }
  }

  static void check(const RowSpec& row, const std::vector<TokenizedPrompt>& others,
                    const std::string& key) {
    using Kind = ValueSpec::Kind;
    if (row.one_by_one()) refuse(key, "`each` stands for many runs", "name tokens, or ask a sweep");
    if (row.by_decay_that_happens())
      refuse(key, "slices by exp(A dt) are measured in many prompts", "ask a sweep");
    if (row.needs(Kind::kResample) && others.size() != 1)
      refuse(key, "resample takes values of one other run, and none is given",
             "write value=ff.run(fact)");
    if (row.needs(Kind::kMean) && others.empty())
      refuse(key, "mean is of other runs, and none is given", "write value=ff.mean(facts)");
  }

  void add(const AskedRead& read, const std::string& key) {
    const auto named = [&](const auto& parse) {
      try {
        return parse();
      } catch (const InputError& error) {
        refuse(key, error.problem(), error.remedy());
      }
    };
    const Site site = named([&] { return parse_site(read.site); });
    const TokenGroup group = named([&] { return parse_token_group(read.tokens); });
    if (group.one_by_one()) refuse(key, "`each` is no place to read", "`all` is every token");
    if (read.layers.empty()) refuse(key, "names no layer", "give layers=...");
    Asked asked{key, read.layers, positions_of(group, prompt_, 0)};
    if (asked.tokens.empty())
      refuse(key, fmt::format("{} has no tokens of {}", in_quotes(prompt_.prompt.text),
                              to_string(group)));
    for (const int layer : read.layers) {
      possible(key, [&] { check_site(architecture_, {site, layer}); });
      for (const int token : asked.tokens) {
        request_.reads.push_back({{site, layer}, token, std::nullopt});
        if (!request_.series.empty())
          request_.reads.push_back({{site, layer}, token, ReadAt::Run{0, 0}});
      }
    }
    asked_.push_back(std::move(asked));
  }

  SiteValues values_of(const Asked& asked, const ReplayResult& result, std::size_t& next) const {
    std::vector<at::Tensor> clean, values;
    for (std::size_t i = 0; i < asked.layers.size() * asked.tokens.size(); ++i) {
      clean.push_back(result.reads.at(next++).value());
      values.push_back(request_.series.empty() ? clean.back() : result.reads.at(next++).value());
    }
    const auto stacked = [&](const std::vector<at::Tensor>& all) {
      for (const at::Tensor& one : all)
        if (one.numel() != all[0].numel())
          refuse(asked.key,
                 fmt::format("the site has {} numbers in one layer and {} in another",
                             all[0].numel(), one.numel()),
                 "read these layers apart");
      return at::stack(all).view({static_cast<std::int64_t>(asked.layers.size()),
                                  static_cast<std::int64_t>(asked.tokens.size()), -1});
    };
    return {asked.tokens, stacked(values), stacked(clean)};
  }

  LoadedModel& model_;
  const Architecture& architecture_;
  TokenizedPrompt prompt_;
  ReplayRequest request_;
  std::vector<Asked> asked_;
  std::int64_t touched_ = 0;
};

}  // namespace

OneRun run_one(const Prompt& prompt, const std::vector<ActionInLayers>& actions,
               const std::vector<AskedRead>& reads, LoadedModel& model, bool self_check) {
  OneRunner runner(prompt, model);
  runner.act(actions);
  runner.read(reads);
  return runner.run(self_check);
}

}  // namespace factflow
