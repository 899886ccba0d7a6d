// What kinds send between ranks and put into the journal, as bytes: cereal's portable binary
// archive (little-endian, no padding). A type of a kind's own has a function `serialize(archive,
// value)` beside it.
#pragma once

#include <sstream>
#include <string>
#include <utility>

#include <cereal/archives/portable_binary.hpp>
#include <cereal/types/string.hpp>
#include <cereal/types/vector.hpp>
#include <fmt/format.h>

#include "base/error.hpp"
#include "experiments/asked.hpp"
#include "experiments/windows.hpp"
#include "model/prompt.hpp"

namespace factflow {

template <class Archive>
void serialize(Archive& archive, AskedItem& a) {
  archive(a.item, a.series);
}
template <class Archive>
void serialize(Archive& archive, Window& w) {
  archive(w.begin, w.end);
}
template <class Archive>
void serialize(Archive& archive, WindowSeries& s) {
  archive(s.size, s.placement, s.starts, s.windows);
}
template <class Archive>
void serialize(Archive& archive, ChannelSet& c) {
  archive(c.kind, c.slice, c.slices);
}

template <class Archive>
void serialize(Archive& archive, Prompt& p) {
  archive(p.id, p.text, p.subject, p.subject_begin, p.answer, p.relation, p.new_answer,
          p.paraphrases, p.neighbours);
}

template <class T>
std::string to_bytes(const T& value) {
  std::ostringstream stream(std::ios::binary);
  cereal::PortableBinaryOutputArchive archive(stream);
  archive(value);
  return std::move(stream).str();
}

// Throws RunError for bytes that to_bytes() did not make of a T; `what` is said then: "a unit".
template <class T>
T from_bytes(const std::string& bytes, const char* what) {
  T value;
  try {
    std::istringstream stream(bytes, std::ios::binary);
    cereal::PortableBinaryInputArchive archive(stream);
    archive(value);
  } catch (const std::exception& error) {
    throw RunError(
        fmt::format("{} of {} bytes cannot be read: {}", what, bytes.size(), error.what()));
  }
  return value;
}

}  // namespace factflow
