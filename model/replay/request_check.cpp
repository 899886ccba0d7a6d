#include "model/replay/request_check.hpp"

#include <algorithm>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace factflow {
namespace {

// A request of a model of so many layers.
class Check {
 public:
  explicit Check(int layers) : layers_(layers) {}

  void request(const ReplayRequest& request) const {
    if (request.ids.empty()) throw std::invalid_argument("a prompt without tokens");
    const int length = static_cast<int>(request.ids.size());
    for (const Series& series : request.series) {
      int last_layer = layers_ - 1;
      for (const Intervention& intervention : series.interventions) {
        if (const auto* found = std::get_if<Block>(&intervention))
          block(*found, length, series.windows.has_value());
        else
          write(std::get<Write>(intervention), length, series.windows.has_value());
        const auto* written = std::get_if<Write>(&intervention);
        if (written != nullptr && (written->site == Site::kH || written->site == Site::kNorm))
          last_layer = layers_;
      }
      for (const Window& window : series.windows.value_or(std::vector<Window>{}))
        if (window.begin < 0 || window.end > last_layer + 1 || window.begin > window.end)
          throw std::invalid_argument("a window outside the model's " + std::to_string(layers_) +
                                      " layers");
    }
    for (const ReadAt& read : request.reads) {
      layer(read.at.site, read.at.layer);
      tokens({read.token}, length, "a read");
      if (read.under && (read.under->series >= request.series.size() ||
                         read.under->run >= request.series[read.under->series].runs()))
        throw std::invalid_argument("a read under a run that was not asked for");
    }
  }

 private:
  static void tokens(const std::vector<int>& all, int length, const char* what) {
    for (const int token : all)
      if (token < 0 || token >= length)
        throw std::invalid_argument(fmt::format("{} outside the prompt's {} tokens", what, length));
  }

  void layer(Site site, int which) const {
    const int first = site == Site::kNorm ? layers_ : 0,
              last = site == Site::kNorm || site == Site::kH ? layers_ : layers_ - 1;
    if (which < first || which > last)
      throw std::invalid_argument(
          fmt::format("site {} has layers {} to {}, not {}", to_string(site), first, last, which));
  }

  void block(const Block& of, int length, bool in_windows) const {
    tokens(of.targets, length, "a knockout");
    tokens(of.sources, length, "a knockout");
    for (const std::vector<int>* positions : {&of.targets, &of.sources})
      if (std::adjacent_find(positions->begin(), positions->end(), std::greater_equal<>()) !=
          positions->end())
        throw std::invalid_argument(
            "positions of a knockout that are not ascending, or twice the same");
    if (in_windows) return;
    for (const int one : of.layers)
      if (one < 0 || one >= layers_)
        throw std::invalid_argument(fmt::format("layer {} of a model of {}", one, layers_));
  }

  void write(const Write& of, int length, bool in_windows) const {
    tokens(of.tokens, length, "a value");
    if (!in_windows)
      for (const int one : of.layers) layer(of.site, one);
    if (const auto* vector = std::get_if<Vector>(&of.value);
        vector != nullptr && of.channels && vector->values.size() != of.channels->size())
      throw std::invalid_argument(fmt::format("a vector of {} numbers for {} channels of site {}",
                                              vector->values.size(), of.channels->size(),
                                              to_string(of.site)));
    if (const auto* other = std::get_if<OtherRun>(&of.value)) {
      if (other->tokens.size() != of.tokens.size())
        throw std::invalid_argument(fmt::format("{} tokens of another run for {} tokens",
                                                other->tokens.size(), of.tokens.size()));
      tokens(other->tokens, static_cast<int>(other->ids.size()), "a token of another run");
    }
    if (const auto* mean = std::get_if<MeanOfRuns>(&of.value)) {
      if (mean->runs.empty()) throw std::invalid_argument("a mean of no runs");
      for (const std::vector<int>& ids : mean->runs)
        if (ids.empty()) throw std::invalid_argument("a mean over a run without tokens");
    }
    for (const int channel : of.channels.value_or(std::vector<int>{}))
      if (channel < 0)
        throw std::invalid_argument(
            fmt::format("channel {} of site {}", channel, to_string(of.site)));
  }

  int layers_;
};

}  // namespace

void check_request(const ReplayRequest& request, int layers) {
  Check(layers).request(request);
}

}  // namespace factflow
