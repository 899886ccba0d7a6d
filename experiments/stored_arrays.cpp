#include "experiments/stored_arrays.hpp"

#include <charconv>

#include <fmt/format.h>

#include "base/error.hpp"

namespace factflow {

using hdf5::Group;

void inconsistent(const Group& group, const std::string& name, const std::string& problem) {
  throw InputError(group.where(name), problem,
                   "the file is damaged or was not written by factflow");
}

void check_probabilities(const Group& group, const std::string& name,
                         const std::vector<float>& values) {
  // Rounding may carry a softmax a little past 1.
  const auto possible = [](float p) { return std::isnan(p) || (p >= 0.0F && p <= 1.001F); };
  if (!std::all_of(values.begin(), values.end(), possible))
    inconsistent(group, name, "expected probabilities between 0 and 1, or NaN");
}

std::vector<std::int32_t> read_counts(const hdf5::Group& group, const std::string& name,
                                      const hdf5::Shape& shape) {
  if (!group.has(name)) return {};
  std::vector<std::int32_t> counts = group.read<std::int32_t>(name, shape);
  if (std::any_of(counts.begin(), counts.end(), [](std::int32_t n) { return n < kNotCounted; }))
    inconsistent(group, name, "expected numbers of at least 0, and -1 where nothing was computed");
  return counts;
}

ArrayAxis start_axis(const std::string& placement, const std::vector<std::int32_t>& starts) {
  return {"start",
          starts,
          {"layer",
           placement == "centred" ? "centre layer of the window" : "first layer of the window"}};
}

std::vector<std::int64_t> numbered(const Group& group, const std::string& prefix) {
  std::vector<std::int64_t> numbers;
  for (const std::string& name : group.names()) {
    if (!name.starts_with(prefix)) continue;
    std::int64_t number = 0;
    const char* end = name.data() + name.size();
    const auto [stop, error] = std::from_chars(name.data() + prefix.size(), end, number);
    if (error == std::errc() && stop == end) numbers.push_back(number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

std::vector<std::int32_t> read_starts(const Group& group, const ModelInfo& model) {
  std::vector<std::int32_t> starts = group.read_axis<std::int32_t>("start");
  for (std::size_t i = 0; i < starts.size(); ++i)
    if (starts[i] < 0 || starts[i] > model.layers || (i > 0 && starts[i] <= starts[i - 1]))
      inconsistent(group, "start", fmt::format("expected ascending layers up to {}", model.layers));
  return starts;
}

std::string read_placement(const Group& group) {
  std::string placement = group.text_attribute("placement");
  if (placement != "fit" && placement != "centred")
    inconsistent(
        group, "",
        fmt::format("attribute 'placement' is '{}', expected 'fit' or 'centred'", placement));
  return placement;
}

std::int64_t read_window_size(const Group& group, std::int64_t window) {
  if (window < 1 || group.integer_attribute("window") != window)
    inconsistent(group, "", "the attribute 'window' and the group's name disagree");
  return window;
}

std::string placement_of(const ResultsReader& reader, const std::string& model) {
  const Group group = reader.arrays_of(model);
  for (const std::string& kind : group.names()) {
    const Group windows = group.open_group(kind);
    for (const std::int64_t size : numbered(windows, "window_"))
      return read_placement(windows.open_group(fmt::format("window_{}", size)));
  }
  return "";
}

}  // namespace factflow
