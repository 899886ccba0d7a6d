#include "experiments/parts/parts_arrays.hpp"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "experiments/stored_arrays.hpp"

namespace factflow {
namespace {

constexpr const char* kCumulated = "cumulated_";

CumulatedParts read_one(const hdf5::Group& group, const std::vector<std::string>& items) {
  CumulatedParts parts;
  parts.edge = group.text_attribute("edge");
  parts.division = group.text_attribute("division");
  parts.window = group.integer_attribute("window");
  parts.start = group.integer_attribute("start");
  parts.ordered_by = group.integer_attribute("ordered_by");
  parts.orders = group.read_axis<std::string>("order");
  check_unique(group, "order", parts.orders);
  parts.steps = group.read_axis<std::int32_t>("step");
  for (std::size_t i = 0; i < parts.steps.size(); ++i)
    if (parts.steps[i] != static_cast<std::int32_t>(i) + 1)
      inconsistent(group, "step", "expected 1, 2, ...");
  parts.prompts = group.read_axis<std::int64_t>("prompt");
  parts.part = group.read<std::string>("part", {parts.orders.size(), parts.steps.size()});
  for (const std::string& name : parts.part)
    if (!name.empty() && std::find(items.begin(), items.end(), name) == items.end())
      inconsistent(group, "part", "expected names of the axis of parts");
  parts.log_change = group.read<float>(
      "log_change", {parts.orders.size(), parts.steps.size(), parts.prompts.size()});
  return parts;
}

}  // namespace

const CellNames& part_names() {
  static const CellNames names = {
      "parts",
      "part",
      "what loses its edge: sources->targets, then /the heads or channels unless all lose it",
      "edges",
      "blocked (target, source) token pairs in one layer; 0 = the prompt has no such edge",
      "with the edge of the part blocked",
      "no such edge",
      "section"};
  return names;
}

ArrayGroup arrays_of(const CumulatedParts& parts, std::size_t index) {
  ArrayGroup group{fmt::format("{}/{}{}", part_names().group, kCumulated, index)};
  group.attributes = {{"edge", parts.edge},
                      {"division", parts.division},
                      {"window", parts.window},
                      {"start", parts.start},
                      {"ordered_by", parts.ordered_by}};
  group.axes = {
      {"order",
       parts.orders,
       {"1", "which part is added next: the one with the largest effect alone, or a drawn one"}},
      {"step", parts.steps, {"1", "how many parts lose the edge together"}},
      {"prompt", parts.prompts, {"1", "id of the prompt in the dataset"}}};
  group.arrays = {
      {"part", {"order", "step"}, parts.part, {"1", "the part that is added at this step"}},
      {"log_change",
       {"order", "step", "prompt"},
       parts.log_change,
       {"1",
        "natural logarithm of the answer's probability, less that of the clean run; NaN = not "
        "computed, failed or no such edge"}}};
  return group;
}

ArrayGroup arrays_of_ranking(const std::vector<std::vector<float>>& decay, std::int64_t tokens,
                             std::int64_t prompts) {
  ArrayGroup group{fmt::format("{}/ranking", part_names().group)};
  group.attributes = {{"tokens", tokens}, {"prompts", prompts}};
  std::size_t widest = 0;
  for (const std::vector<float>& layer : decay) widest = std::max(widest, layer.size());
  std::vector<std::int32_t> layers, channels;
  std::vector<float> all;
  for (std::size_t layer = 0; layer < decay.size(); ++layer) {
    layers.push_back(static_cast<std::int32_t>(layer));
    all.insert(all.end(), decay[layer].begin(), decay[layer].end());
    all.resize((layer + 1) * widest, std::numeric_limits<float>::quiet_NaN());
  }
  for (std::size_t i = 0; i < widest; ++i) channels.push_back(static_cast<std::int32_t>(i));
  group.axes = {{"layer", layers, {"1", "layer"}},
                {"channel", channels, {"1", "channel (Mamba-1) or head (Mamba-2)"}}};
  group.arrays = {{"decay",
                   {"layer", "channel"},
                   all,
                   {"1",
                    "exp(A dt), of a channel summed over its states, mean over the tokens of the "
                    "ranking prompts; the larger, the slower: slices by exp(A dt) are of this "
                    "ranking, ties in the order of channels; NaN = no such channel"}}};
  return group;
}

bool has_parts(const ResultsReader& reader, const std::string& model) {
  return reader.arrays_of(model).has(part_names().group);
}

std::vector<CumulatedParts> read_cumulated_parts(const ResultsReader& reader,
                                                 const std::string& model) {
  const hdf5::Group of_model = reader.arrays_of(model).open_group(part_names().group);
  const auto items = of_model.read_axis<std::string>(part_names().item);
  std::vector<CumulatedParts> all;
  for (const std::int64_t index : numbered(of_model, kCumulated))
    all.push_back(read_one(of_model.open_group(fmt::format("{}{}", kCumulated, index)), items));
  return all;
}

}  // namespace factflow
