#include "experiments/surge/surge_reads.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "experiments/surge/surge_arrays.hpp"
#include "model/mixers/attention/attention_shape.hpp"
#include "model/mixers/mixer_roles.hpp"

namespace factflow {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// What blocks add to the stream, in order, as far as it has a site.
std::vector<Site> added_in(const LayerShape& layer) {
  std::vector<Site> added;
  for (const Site site : sites_of(layer))
    if (std::any_of(layer.begin(), layer.end(), [&](const BlockShape& block) {
          return !feeds_next(block) &&
                 named_in(layer, *block.mixer, block.mixer->sites().back()) == site;
        }))
      added.push_back(site);
  return added;
}

const MixerShape* only_mixer(const LayerShape& layer) {
  const MixerShape* found = nullptr;
  for (const BlockShape& block : layer)
    if (block.mixer->mixes_tokens()) {
      if (found != nullptr) return nullptr;
      found = block.mixer.get();
    }
  return found;
}

}  // namespace

std::vector<std::string> SurgeShape::components() const {
  std::vector<std::string> names = {"embedding"};
  for (std::size_t layer = 0; layer < layers.size(); ++layer)
    for (const Site site : layers[layer].added)
      names.push_back(fmt::format("{} {}", layer, to_string(site)));
  names.emplace_back("rest");
  return names;
}

SurgeShape surge_shape(const Architecture& architecture) {
  SurgeShape shape;
  for (const LayerShape& layer : architecture.blocks) {
    SurgeShape::Layer& of = shape.layers.emplace_back();
    of.added = added_in(layer);
    const MixerShape* mixer = only_mixer(layer);
    if (mixer == nullptr) continue;
    if (const auto* attention = dynamic_cast<const AttentionShape*>(mixer)) {
      of.from = ReadsFrom::kScores;
      of.heads = attention->heads;
      continue;
    }
    const std::vector<Site> sites = mixer->sites();
    const auto has = [&](Site site) {
      return std::find(sites.begin(), sites.end(), site) != sites.end();
    };
    if (has(Site::kSkip) && has(Site::kS)) of.from = ReadsFrom::kState;
  }
  return shape;
}

SurgeReads::SurgeReads(const SurgeShape& shape, int window, const TokenizedPrompt& prompt)
    : shape_(shape),
      window_(window),
      last_(static_cast<int>(prompt.ids.size()) - 1),
      request_{prompt.ids, prompt.answer} {
  const int layers = static_cast<int>(shape.layers.size());
  request_.series.emplace_back(std::vector<int>{last_}, std::vector<int>{last_}, ChannelSet{},
                               std::vector<Window>{{layers - window, layers}});
  ask_streams();
  if (last_ > 0) ask_weights();
}

std::size_t SurgeReads::read(SiteAt at, std::optional<ReadAt::Run> under) {
  request_.reads.push_back({at, last_, under});
  return request_.reads.size() - 1;
}

void SurgeReads::ask_streams() {
  const int layers = static_cast<int>(shape_.layers.size());
  for (const std::size_t run : {kClean, kKnocked}) {
    const std::optional<ReadAt::Run> under =
        run == kClean ? std::nullopt : std::optional(ReadAt::Run{0, 0});
    for (int layer = 0; layer <= layers; ++layer)
      streams_[run].push_back(read({Site::kH, layer}, under));
    written_[run].push_back(streams_[run].front());
    for (int layer = 0; layer < layers; ++layer)
      for (const Site site : shape_.layers[static_cast<std::size_t>(layer)].added)
        written_[run].push_back(read({site, layer}, under));
  }
}

void SurgeReads::ask_weights() {
  std::vector<int> all_but_first, all_but_last;
  for (int token = 0; token <= last_; ++token) {
    if (token > 0) all_but_first.push_back(token);
    if (token < last_) all_but_last.push_back(token);
  }
  const int first_layer = static_cast<int>(shape_.layers.size()) - window_;
  std::vector<Window> single;
  for (int i = 0; i < window_; ++i) single.push_back({first_layer + i, first_layer + i + 1});
  for (const std::vector<int>& sources :
       {std::vector<int>{0}, all_but_first, std::vector<int>{last_}, all_but_last})
    request_.series.emplace_back(std::vector<int>{last_}, sources, ChannelSet{}, single);
  for (int i = 0; i < window_; ++i) {
    const auto& layer = shape_.layers[static_cast<std::size_t>(first_layer + i)];
    LayerReads& of = layers_.emplace_back();
    of.from = layer.from;
    of.heads = layer.heads;
    if (of.from == ReadsFrom::kUnknown) continue;
    of.s = read({Site::kS, first_layer + i}, std::nullopt);
    if (of.from == ReadsFrom::kState) of.skip = read({Site::kSkip, first_layer + i}, std::nullopt);
    for (const std::size_t series : {kNotFirst, kOnlyFirst, kNotItself, kOnlyItself})
      of.isolated[series] =
          read({Site::kS, first_layer + i}, ReadAt::Run{series, static_cast<std::size_t>(i)});
  }
}

at::Tensor SurgeReads::value(const ReplayResult& result, std::size_t read) {
  return result.reads.at(read).value().to(at::kCPU, at::kDouble);
}

at::Tensor SurgeReads::streams(const ReplayResult& result, std::size_t run) const {
  std::vector<at::Tensor> values;
  for (const std::size_t read : streams_[run]) values.push_back(value(result, read));
  return at::stack(values);
}

at::Tensor SurgeReads::written(const ReplayResult& result, std::size_t run) const {
  std::vector<at::Tensor> values;
  for (const std::size_t read : written_[run]) values.push_back(value(result, read));
  return at::stack(values);
}

// With the weight w of a source whose value is v, a head gives w v + (1 - w) r, r being what it
// gives without the source: w is the length along v - r.
std::vector<double> SurgeReads::of_scores(const ReplayResult& result, std::size_t layer) const {
  const LayerReads& reads = layers_[layer];
  const auto heads_of = [&](std::size_t read) {
    return value(result, read).reshape({reads.heads, -1});
  };
  const at::Tensor s = heads_of(reads.s);
  const auto weight = [&](Isolated without, Isolated only) {
    const at::Tensor r = heads_of(reads.isolated[without]),
                     along = heads_of(reads.isolated[only]) - r;
    const at::Tensor length = along.square().sum(-1);
    const at::Tensor w = ((s - r) * along).sum(-1) / length.clamp_min(1e-300);
    return w.mean().item<double>();
  };
  const double first = weight(kNotFirst, kOnlyFirst), itself = weight(kNotItself, kOnlyItself);
  return {first, itself, 1 - first - itself};
}

std::vector<double> SurgeReads::of_state(const ReplayResult& result, std::size_t layer) const {
  const LayerReads& reads = layers_[layer];
  const at::Tensor skip = value(result, reads.skip);
  const at::Tensor first = value(result, reads.isolated[kOnlyFirst]) - skip,
                   itself = value(result, reads.isolated[kOnlyItself]) - skip,
                   others = value(result, reads.s) - skip - first - itself;
  const double a = first.norm().item<double>(), b = itself.norm().item<double>(),
               c = others.norm().item<double>();
  return {a / (a + b + c), b / (a + b + c), c / (a + b + c)};
}

std::vector<double> SurgeReads::weights(const ReplayResult& result) const {
  std::vector<double> all;
  for (std::size_t layer = 0; layer < static_cast<std::size_t>(window_); ++layer) {
    std::vector<double> of(kSources, kNaN);
    if (layer < layers_.size() && layers_[layer].from == ReadsFrom::kScores)
      of = of_scores(result, layer);
    if (layer < layers_.size() && layers_[layer].from == ReadsFrom::kState)
      of = of_state(result, layer);
    all.insert(all.end(), of.begin(), of.end());
  }
  return all;
}

}  // namespace factflow
