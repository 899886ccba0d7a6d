#include "bench/requests.hpp"

#include <random>

#include <fmt/format.h>

#include "base/error.hpp"

namespace factflow {

std::vector<ReplayRequest> make_requests(int prompts, const Architecture& architecture,
                                         const std::vector<int>& sizes) {
  std::mt19937 generator(1);
  std::gamma_distribution<double> length_of(2.2, 2.4);
  std::vector<Window> windows;
  for (const int size : sizes)
    for (int start = 0; start + size <= architecture.layers; ++start)
      windows.push_back({start, start + size});
  if (windows.empty())
    throw InputError("--windows",
                     fmt::format("none fits a model of {} layers", architecture.layers));
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
    for (const std::vector<int>& sources : {inside, outside, last, std::vector<int>{0}})
      request.series.push_back({last, sources, {}, windows});
    requests.push_back(std::move(request));
  }
  return requests;
}

}  // namespace factflow
