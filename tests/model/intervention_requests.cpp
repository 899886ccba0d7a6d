#include "intervention_requests.hpp"

#include <algorithm>

namespace factflow {
namespace {

std::vector<int> prompt_of(int length, int seed) {
  std::vector<int> ids;
  for (int t = 0; t < length; ++t) ids.push_back((7 * t + seed) % 29);
  return ids;
}

void add_writes(const Architecture& architecture, const std::vector<Window>& windows,
                ReplayRequest& request) {
  const int last = static_cast<int>(request.ids.size()) - 1;
  const std::vector<int> other = prompt_of(6, 11);
  for (const Site site : architecture.sites()) {
    if (site == Site::kNorm) continue;
    Write write;
    write.site = site;
    write.tokens = {last};
    request.series.push_back({{write}, windows});
    write.value.emplace<OtherRun>(OtherRun{other, {2}});
    request.series.push_back({{write}, windows});
    write.tokens = {last - 1, last};
    write.value.emplace<OtherRun>(OtherRun{other, {3, 1}});
    write.channels = {2, 0, 5};
    request.series.push_back({{write}, windows});
    write.value.emplace<MeanOfRuns>(MeanOfRuns{{other, request.ids}});
    write.add = true;
    write.scale = -0.5;
    request.series.push_back({{write}, windows});
    write.value.emplace<Vector>(Vector{{0.25, -1, 3}});
    request.series.push_back({{write}, windows});
  }
  for (const Site site : {Site::kH, Site::kNorm}) {
    Write write;
    write.site = site;
    write.layers = {architecture.layers};
    write.tokens = {last};
    write.value.emplace<OtherRun>(OtherRun{other, {4}});
    write.channels = {1, 3};
    request.series.push_back({{write}, std::nullopt});
  }
}

bool is_possible(const Architecture& architecture, const Block& block) {
  try {
    check_block(architecture.blocks.front(), block);
    return true;
  } catch (const std::invalid_argument&) {
    return false;
  }
}

void add_blocks(const Architecture& architecture, const std::vector<Window>& windows,
                ReplayRequest& request) {
  const int last = static_cast<int>(request.ids.size()) - 1;
  const std::vector<Selection> selections = {ChannelSet{}, ChannelSet{ChannelSet::Kind::kSlow},
                                             Heads{{1}}, Channels{{0, 3, 4}}};
  for (const auto through :
       {Block::Through::kState, Block::Through::kConvolution, Block::Through::kMixer})
    for (const Selection& selection : selections) {
      Block block;
      block.through = through;
      block.selection = selection;
      block.targets = {last};
      block.sources = {0, last - 1};
      block.sources.erase(std::unique(block.sources.begin(), block.sources.end()),
                          block.sources.end());
      if (!is_possible(architecture, block)) continue;
      request.series.push_back({{block}, windows});
      Block wider = block;
      wider.targets = {last - 1, last};
      wider.sources = {last};
      request.series.push_back({{block, wider}, windows});
    }
}

// An edge and patches in one run, on layers that are not consecutive.
void add_mixtures(const Architecture& architecture, ReplayRequest& request) {
  const int last = static_cast<int>(request.ids.size()) - 1;
  Block block;
  block.layers = {0, 2};
  block.targets = {last};
  block.sources = {last - 1};
  Write write;
  write.site = Site::kO;
  write.layers = {1, architecture.layers - 1};
  write.tokens = {0, last};
  write.value.emplace<OtherRun>(OtherRun{prompt_of(4, 3), {1, 3}});
  request.series.push_back({{block, write}, std::nullopt});
  for (const Site site : architecture.sites()) {
    const int layer = site == Site::kNorm ? architecture.layers : 1;
    request.reads.push_back({{site, layer}, last, std::nullopt});
    request.reads.push_back({{site, layer}, last, ReadAt::Run{request.series.size() - 1, 0}});
    request.reads.push_back({{site, layer}, 0, ReadAt::Run{0, 0}});
  }
}

}  // namespace

std::vector<ReplayRequest> intervention_requests(const Architecture& architecture) {
  const int layers = architecture.layers;
  const std::vector<Window> windows = {{0, 1}, {1, 2}, {1, layers}, {0, layers}};
  std::vector<ReplayRequest> requests;
  for (const int length : {2, 5, 17, 40}) {
    ReplayRequest& request = requests.emplace_back();
    request.ids = prompt_of(length, length);
    request.answer = length % 29;
    add_writes(architecture, windows, request);
    add_blocks(architecture, windows, request);
    add_mixtures(architecture, request);
  }
  return requests;
}

}  // namespace factflow
