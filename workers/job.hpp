// What all ranks of a run must know before the first unit: models, knockouts, windows, how to
// compute. Sent once, as bytes, from rank 0.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "model/checkpoint_choices.hpp"
#include "model/knockout.hpp"
#include "model/prompt.hpp"

namespace factflow {

// One line of the edge axis: blocks `from` -> `to` on the channels.
struct EdgeSpec {
  TokenRole from = TokenRole::kSubject;
  TokenRole to = TokenRole::kLast;
  ChannelSet channels;
};
std::string label_of(const EdgeSpec& edge);  // "subject->last", "subject->last/slow"

// All windows of one size in one model: windows[i] belongs to starts[i] on the start axis.
struct WindowSeries {
  int size = 0;
  std::vector<int> starts;  // first layer (fit) or centre layer (centred)
  std::vector<Window> windows;
};

// An edge with the window sizes in which it is knocked out, as indices into ModelJob::edges and
// ModelJob::sweep.
struct AskedEdge {
  std::uint32_t edge = 0;
  std::vector<std::uint32_t> series;  // ascending
  auto operator<=>(const AskedEdge&) const = default;
};

// The edges and window sizes of all sweeps; what is asked of a prompt stands in its unit.
struct ModelJob {
  std::string name;
  std::string path;  // as in the configuration
  CheckpointChoices choices;
  std::string tokenizer;  // path; never empty
  AnswerRule answer = AnswerRule::kContinuation;
  // Of the checkpoint, and how many of them are not stored as float32; 0 = not known.
  std::int64_t parameters = 0, converted = 0;
  std::vector<EdgeSpec> edges;
  std::vector<WindowSeries> sweep;
  std::vector<WindowSeries> heatmaps;
};

struct Job {
  std::vector<ModelJob> models;
  std::string device = "auto";
  std::string precision = "fp32";
  int threads_per_rank = 0;
  std::int64_t memory_limit = 0;
  bool share_gpus = false;
  int heartbeat_timeout = 60;  // seconds
};

std::string encode(const Job& job);
Job decode_job(const std::string& bytes);  // throws RunError for bytes that encode() did not make

}  // namespace factflow
