#include "experiments/trace/token_patches.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"
#include "model/check_intervention.hpp"

namespace factflow {

WindowSeries centred_series(Site site, int size, int layers) {
  return window_series(size, Placement::kCentred, site == Site::kH ? layers + 1 : layers);
}

std::vector<Site> sites_to_trace(const Architecture& architecture) {
  std::vector<Site> sites;
  for (const Site site :
       {Site::kH, Site::kA, Site::kS, Site::kSAttention, Site::kSRecurrent, Site::kG, Site::kY,
        Site::kO, Site::kOAttention, Site::kORecurrent, Site::kMlp})
    if (std::all_of(architecture.blocks.begin(), architecture.blocks.end(),
                    [&](const LayerShape& layer) {
                      const std::vector<Site> there = sites_of(layer);
                      return std::find(there.begin(), there.end(), site) != there.end();
                    }))
      sites.push_back(site);
  return sites;
}

void check_patched_site(Site site, const std::vector<Window>& windows, const std::string& key,
                        const ModelToPlan& model) {
  try {
    InterventionCheck(model.architecture)
        .series(Series({Write{site, {}, {0}, std::nullopt, Zero{}}}, windows));
  } catch (const std::invalid_argument& error) {
    throw InputError(model.file.string(),
                     fmt::format("key {}: model {}: {}", key, model.name, error.what()),
                     "leave the site to models that have it by an entry with models: [...]");
  }
}

void add_token_patches(Site site, const std::vector<Window>& windows, int first,
                       const std::vector<int>& source, ReplayRequest& request) {
  for (int token = first; token < static_cast<int>(request.ids.size()); ++token)
    request.series.push_back(
        Series({Write{site, {}, {token}, std::nullopt, OtherRun{source, {token}}}}, windows));
}

const Answer& TokenPatches::at(int token, std::size_t window) const {
  if (token < first_) return result_.clean;
  const Answer& patch =
      result_.knockouts.at(series_ + static_cast<std::size_t>(token - first_)).at(window);
  return patch.rank == 0 ? result_.clean : patch;  // rank 0: nothing was to be done
}

Replays PatchedTokens::replays(double tokens, std::vector<Window> windows) const {
  const double rows = std::max(1.0, share * tokens),
               columns = (squares * tokens * tokens + share * tokens) / 2;  // of all rows
  return {rows, std::move(windows), std::max(1.0, columns / rows)};
}

PatchedTokens patched_tokens(const std::vector<Prompt>& prompts) {
  PatchedTokens mean{0, 0};
  double count = 0;
  for (const Prompt& prompt : prompts) {
    if (prompt.text.empty() || prompt.subject.empty()) continue;
    const double share =
        1 - static_cast<double>(prompt.subject_begin) / static_cast<double>(prompt.text.size());
    mean.share += share;
    mean.squares += share * share;
    ++count;
  }
  if (count == 0) return {};
  return {mean.share / count, mean.squares / count};
}

}  // namespace factflow
