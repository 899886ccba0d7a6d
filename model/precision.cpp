#include "model/precision.hpp"

#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

const std::vector<std::pair<std::string, Precision>>& precision_names() {
  static const std::vector<std::pair<std::string, Precision>> names = {
      {"fp64", Precision::kFp64},
      {"fp32", Precision::kFp32},
      {"tf32x3", Precision::kTf32x3},
      {"tf32", Precision::kTf32},
      {"bf16", Precision::kBf16}};
  return names;
}

}  // namespace

Precision parse_precision(const std::string& name) {
  std::vector<std::string> known;
  for (const auto& [word, precision] : precision_names()) {
    if (word == name) return precision;
    known.push_back(word);
  }
  throw InputError("precision", unknown_word("precision", name, known));
}

std::string to_string(Precision precision) {
  for (const auto& [word, value] : precision_names())
    if (value == precision) return word;
  return "";
}

at::ScalarType wide_type(Precision precision) {
  return precision == Precision::kFp64 ? at::kDouble : at::kFloat;
}

at::ScalarType activation_type(Precision precision) {
  return precision == Precision::kBf16 ? at::kBFloat16 : wide_type(precision);
}

at::ScalarType head_type(Precision precision) {
  return precision == Precision::kBf16 ? at::kHalf : wide_type(precision);
}

std::int64_t activation_bytes(Precision precision) {
  return static_cast<std::int64_t>(c10::elementSize(activation_type(precision)));
}

std::int64_t factor_bytes(Precision precision) {
  return precision == Precision::kTf32x3 ? 8 : activation_bytes(precision);
}

std::int64_t weight_bytes(Precision precision) {
  return precision == Precision::kTf32x3
             ? 8
             : static_cast<std::int64_t>(c10::elementSize(wide_type(precision)));
}

void check_precision(at::Device device, Precision precision) {
  const bool exact = precision == Precision::kFp64 || precision == Precision::kFp32;
  if (device.is_cpu() && !exact)
    throw InputError("precision", fmt::format("{} needs a CUDA device", to_string(precision)),
                     "use fp32 or fp64 on the CPU");
  if (!device.is_cpu() && precision == Precision::kFp64)
    throw InputError("precision", "fp64 is not supported on a CUDA device",
                     "use fp32, tf32x3, tf32 or bf16, or device: cpu");
}

}  // namespace factflow
