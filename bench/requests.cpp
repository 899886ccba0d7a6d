#include "bench/requests.hpp"

#include <algorithm>
#include <random>

#include <fmt/format.h>

#include "base/error.hpp"

namespace factflow {

namespace {

// Each head, or adjacent channels, of a model's first mixer of tokens, in so many parts.
std::vector<Selection> parts_of(const Architecture& architecture, int parts) {
  const LayerShape& layer = architecture.blocks.front();
  const MixerShape& mixer = *std::find_if(layer.begin(), layer.end(), [](const BlockShape& block) {
                               return block.mixer->mixes_tokens();
                             })->mixer;
  const int channels = mixer.name() == "mamba" ? mixer.channels() : 0;
  std::vector<Selection> selections;
  for (int part = 0; part < parts; ++part) {
    std::vector<int> indices;
    for (int i = part * channels / parts; i < (part + 1) * channels / parts; ++i)
      indices.push_back(i);
    if (channels > 0)
      selections.emplace_back(Channels{indices});
    else
      selections.emplace_back(Heads{{part}});
  }
  return selections;
}

}  // namespace

std::vector<ReplayRequest> make_requests(int prompts, const Architecture& architecture,
                                         const std::vector<int>& sizes, int parts) {
  std::mt19937 generator(1);
  std::gamma_distribution<double> length_of(2.2, 2.4);
  std::vector<Window> windows;
  for (const int size : sizes)
    for (int start = 0; start + size <= architecture.layers; ++start)
      windows.push_back({start, start + size});
  if (windows.empty())
    throw InputError("--windows",
                     fmt::format("none fits a model of {} layers", architecture.layers));
  const std::vector<Selection> selections =
      parts > 0 ? parts_of(architecture, parts) : std::vector<Selection>{};
  std::vector<ReplayRequest> requests;
  for (int i = 0; i < prompts; ++i) {
    const int length = std::clamp(4 + static_cast<int>(length_of(generator)), 4, 30);
    ReplayRequest request;
    for (int t = 0; t < length; ++t)
      request.ids.push_back(
          static_cast<int>(generator() % static_cast<unsigned>(architecture.vocabulary)));
    request.answer = request.ids[0];
    const int subject = static_cast<int>(generator() % static_cast<unsigned>(length - 3));
    std::vector<int> inside, outside;
    for (int t = 0; t < length; ++t)
      (t >= subject && t < subject + 3 ? inside : outside).push_back(t);
    const std::vector<int> last = {length - 1};
    if (parts > 0)
      for (const Selection& selection : selections) {
        Block block;
        block.targets = last;
        block.sources = inside;
        block.selection = selection;
        request.series.push_back({{block}, windows});
      }
    else
      for (const std::vector<int>& sources : {inside, outside, last, std::vector<int>{0}})
        request.series.push_back({last, sources, {}, windows});
    requests.push_back(std::move(request));
  }
  return requests;
}

}  // namespace factflow
