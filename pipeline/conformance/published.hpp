// The numbers that the reference implementation's repository publishes for single prompts, by
// COUNTERFACT case id. Source: published.json names repository, commit and folder (MIT licence);
// docs/paper.md says what they are.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/knockout.hpp"

namespace factflow {

struct PublishedClean {
  double probability = 0;  // of the answer's first token
  std::int32_t rank = 0;   // 1 + how many tokens are likelier
};

struct PublishedSeries {
  std::vector<double> probability;  // [window start]
  std::vector<bool> right;          // [window start] the answer is the likeliest token
};

// One edge with one window size; windows fit, starts 0, 1, ...
struct PublishedFlow {
  int window = 0;
  TokenRole from = TokenRole::kSubject, to = TokenRole::kLast;
  ChannelSet channels;  // that LOSE the edge: the reference's FAST_DECAY is `not-fast`, its
                        // SLOW_DECAY `not-slow`
  std::map<std::int64_t, PublishedSeries> prompts;
};

struct PublishedModel {
  std::string name;  // "mamba1-130M"
  std::string hub;   // "state-spaces/mamba-130M-hf"
  int layers = 0;
  std::map<std::int64_t, PublishedClean> clean;
  std::vector<PublishedFlow> flows;
  int heatmap_window = 0;
  std::map<std::int64_t, std::vector<std::vector<double>>>
      heatmaps;  // [token][window start], one row per token
};

// The text of published.json, as it was when the program was built.
std::string_view published_numbers();

// The model called `name` in such a text. Throws InputError that begins with `where` for a text
// that is no such file or is inconsistent, and for a name that it does not hold (with the names
// that it does).
PublishedModel read_published(std::string_view text, const std::string& where,
                              const std::string& name);

}  // namespace factflow
