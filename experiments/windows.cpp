#include "experiments/windows.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/text.hpp"
#include "fields/plain_text.hpp"

namespace factflow {
namespace {

constexpr int kMostLayers = 10000;

Form<Placement> placement_form() {
  return text_form(
      "fit | centred",
      [](const std::string& given) {
        const std::vector<std::string> known = {"fit", "centred"};
        if (std::find(known.begin(), known.end(), given) == known.end())
          throw InputError("", unknown_word("placement", excerpt(given), known));
        return given == "fit" ? Placement::kFit : Placement::kCentred;
      },
      [](Placement placement) { return to_string(placement); });
}

}  // namespace

std::string to_string(Placement placement) {
  return placement == Placement::kFit ? "fit" : "centred";
}

Form<std::vector<int>> window_sizes() {
  return list_of(whole_number<int>(1, kMostLayers));
}

Fields<WindowsConfig> windows_fields() {
  using W = WindowsConfig;
  return {
      field("sizes", &W::sizes, window_sizes(), "layers per window", {.required = true}),
      field("placement", &W::placement, placement_form(),
            "fit: every window that fits into the model; centred: one window around each layer, "
            "clipped"),
  };
}

WindowSeries window_series(int size, Placement placement, int layers) {
  WindowSeries series{size, placement, {}, {}};
  const int starts = placement == Placement::kFit ? layers - size + 1 : layers;
  for (int start = 0; start < starts; ++start) {
    series.starts.push_back(start);
    if (placement == Placement::kFit)
      series.windows.push_back({start, start + size});
    else
      series.windows.push_back(
          {std::max(0, start - size / 2), std::min(layers, start + (size + 1) / 2)});
  }
  return series;
}

std::vector<std::uint32_t> add_series(std::vector<WindowSeries>& series,
                                      const std::vector<int>& sizes, Placement placement,
                                      int layers) {
  std::vector<std::uint32_t> places;
  for (const int size : sizes) {
    const auto found = std::find_if(series.begin(), series.end(),
                                    [&](const WindowSeries& one) { return one.size == size; });
    places.push_back(static_cast<std::uint32_t>(found - series.begin()));
    if (found == series.end()) series.push_back(window_series(size, placement, layers));
  }
  std::sort(places.begin(), places.end());
  return places;
}

std::vector<Window> windows_of(const std::vector<WindowSeries>& series,
                               const std::vector<std::uint32_t>& asked) {
  std::vector<Window> windows;
  for (const std::uint32_t one : asked)
    windows.insert(windows.end(), series.at(one).windows.begin(), series.at(one).windows.end());
  return windows;
}

}  // namespace factflow
