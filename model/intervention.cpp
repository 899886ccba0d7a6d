#include "model/intervention.hpp"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <stdexcept>

#include "base/error.hpp"
#include "base/text.hpp"

namespace factflow {

const std::vector<std::string>& site_names() {
  static const std::vector<std::string> names = {"h",
                                                 "a",
                                                 "xbc",
                                                 "qkv",
                                                 "conv",
                                                 "skip",
                                                 "s",
                                                 "s.attention",
                                                 "s.recurrent",
                                                 "g",
                                                 "y",
                                                 "o_raw",
                                                 "o_raw.attention",
                                                 "o_raw.recurrent",
                                                 "o",
                                                 "o.attention",
                                                 "o.recurrent",
                                                 "mlp_in",
                                                 "mlp_hidden",
                                                 "mlp_raw",
                                                 "mlp",
                                                 "norm"};
  return names;
}

std::string to_string(Site site) {
  return site_names()[static_cast<size_t>(site)];
}

Site raw_site(Site site) {
  if (site == Site::kO) return Site::kORaw;
  if (const std::optional<Branch> branch = branch_of(site); branch && branch->site == Site::kO)
    return branch_site(Site::kORaw, branch->path);
  if (site == Site::kMlp) return Site::kMlpRaw;
  throw std::logic_error("nothing stands behind the site " + to_string(site));
}

Site parse_site(std::string_view name) {
  const auto found = std::find(site_names().begin(), site_names().end(), name);
  if (found == site_names().end())
    throw InputError("site", unknown_word("site", name, site_names()), "");
  return static_cast<Site>(found - site_names().begin());
}

namespace {

struct Branched {
  Site site, attention, recurrent;
};
constexpr Branched kBranched[] = {{Site::kS, Site::kSAttention, Site::kSRecurrent},
                                  {Site::kORaw, Site::kORawAttention, Site::kORawRecurrent},
                                  {Site::kO, Site::kOAttention, Site::kORecurrent}};

}  // namespace

bool has_branches(Site site) {
  return std::any_of(std::begin(kBranched), std::end(kBranched),
                     [&](const Branched& one) { return one.site == site; });
}

Site branch_site(Site site, Path path) {
  for (const Branched& one : kBranched)
    if (one.site == site && path != Path::kBoth)
      return path == Path::kAttention ? one.attention : one.recurrent;
  throw std::logic_error("no branch has a site " + to_string(site) + " of its own");
}

std::optional<Branch> branch_of(Site site) {
  for (const Branched& one : kBranched) {
    if (one.attention == site) return Branch{one.site, Path::kAttention};
    if (one.recurrent == site) return Branch{one.site, Path::kRecurrent};
  }
  return std::nullopt;
}

const std::vector<std::string>& path_names() {
  static const std::vector<std::string> names = {"attention", "recurrent", "both"};
  return names;
}

std::string to_string(Path path) {
  return path_names()[static_cast<size_t>(path)];
}

Path parse_path(std::string_view name) {
  const auto found = std::find(path_names().begin(), path_names().end(), name);
  if (found == path_names().end())
    throw InputError("path", unknown_word("path", name, path_names()), "");
  return static_cast<Path>(found - path_names().begin());
}

namespace {

std::vector<int> layers_of(const Window& window) {
  std::vector<int> layers(static_cast<size_t>(window.end - window.begin));
  std::iota(layers.begin(), layers.end(), window.begin);
  return layers;
}

}  // namespace

Block knockout(std::vector<int> targets, std::vector<int> sources, ChannelSet channels,
               const Window& window) {
  Block block;
  block.layers = layers_of(window);
  block.targets = std::move(targets);
  block.sources = std::move(sources);
  block.selection = channels;
  return block;
}

Series::Series(std::vector<int> targets, std::vector<int> sources, ChannelSet channels,
               std::vector<Window> in_windows)
    : interventions{knockout(std::move(targets), std::move(sources), channels, {})},
      windows(std::move(in_windows)) {}

std::vector<Intervention> Series::run(size_t index) const {
  std::vector<Intervention> run = interventions;
  if (!windows) return run;
  const std::vector<int> layers = layers_of(windows->at(index));
  for (Intervention& intervention : run)
    std::visit([&](auto& one) { one.layers = layers; }, intervention);
  return run;
}

}  // namespace factflow
