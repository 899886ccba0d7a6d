#include "model/locate_interventions.hpp"

#include <algorithm>
#include <utility>

namespace factflow {
namespace {

// The mean of one layer at S; each layer has its own.
Write mean_at_positions(const TokenKnockout& knockout, const SiteMeans& means, int layer) {
  return written(means.site, {layer}, knockout.positions,
                 Vector{means.of_layer.at(static_cast<size_t>(layer))});
}

}  // namespace

Write written(Site site, std::vector<int> layers, std::vector<int> tokens, Value value) {
  Write write;
  write.site = site;
  write.layers = std::move(layers);
  write.tokens = std::move(tokens);
  write.value = std::move(value);
  return write;
}

Write patched(Site site, const std::vector<int>& layers, const std::vector<int>& tokens,
              const std::vector<int>& source) {
  return written(site, layers, tokens, OtherRun{source, tokens});
}

std::vector<Intervention> noised(const std::vector<std::vector<double>>& noise, int first) {
  std::vector<Intervention> together;
  for (size_t i = 0; i < noise.size(); ++i) {
    Write write = written(Site::kH, {0}, {first + static_cast<int>(i)}, Vector{noise[i]});
    write.add = true;
    together.emplace_back(std::move(write));
  }
  return together;
}

std::vector<Intervention> interventions_of(const SeveredPath& path, int layers,
                                           const std::vector<int>& clean,
                                           const std::vector<int>& corrupted) {
  std::vector<int> above;
  for (int layer = path.layer; layer < layers; ++layer) above.push_back(layer);
  std::vector<Intervention> together = {patched(Site::kH, {path.layer}, {path.token}, clean)};
  if (above.empty()) return together;
  for (const Site site : path.severed)
    together.emplace_back(patched(site, above, {path.token}, corrupted));
  return together;
}

std::vector<Intervention> cut_edges(const TokenKnockout& knockout, const std::vector<int>& layers) {
  Block block;
  block.layers = layers;
  block.sources = knockout.positions;
  block.targets = {knockout.last()};
  return {block};
}

std::vector<Intervention> mean_knockout(const TokenKnockout& knockout, const SiteMeans& means,
                                        const std::vector<int>& layers) {
  std::vector<Intervention> together;
  for (const int layer : layers)
    if (!knockout.positions.empty())
      together.emplace_back(mean_at_positions(knockout, means, layer));
  std::vector<int> others;
  for (int token = 0; token < knockout.last(); ++token)
    if (std::find(knockout.positions.begin(), knockout.positions.end(), token) ==
        knockout.positions.end())
      others.push_back(token);
  if (!others.empty()) together.emplace_back(patched(means.site, layers, others, knockout.ids));
  return together;
}

void take_second_streams(const Replayer& replay, std::vector<TwoStreamKnockout>& windows) {
  struct Reading {
    TwoStreamKnockout* window;
    ReplayBatch::Run run;
    size_t read;
  };
  for (size_t round = 0;; ++round) {
    ReplayBatch batch;
    std::vector<Reading> readings;
    for (TwoStreamKnockout& window : windows) {
      if (round >= window.layers.size()) continue;
      const int layer = window.layers[round];
      std::vector<Intervention> second = window.together;
      if (!window.knockout.positions.empty())
        second.emplace_back(mean_at_positions(window.knockout, *window.means, layer));
      const ReplayBatch::Run run = batch.ask(window.knockout.ids, window.answer, std::move(second));
      readings.push_back(
          {&window, run, batch.read(run, {Site::kS, layer}, window.knockout.last())});
    }
    if (readings.empty()) return;
    batch.compute(replay);
    for (const Reading& reading : readings)
      reading.window->together.emplace_back(
          written(Site::kS, {reading.window->layers[round]}, {reading.window->knockout.last()},
                  Vector{batch.value(reading.run, reading.read)}));
  }
}

}  // namespace factflow
