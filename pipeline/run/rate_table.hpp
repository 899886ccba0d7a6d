// How long a run takes, from measured rates. Rates are whole sweeps' (bench/sweep_bench), whose
// rows are one token long, and whole traces' (bench/trace_bench), whose rows go on to the prompt's
// end: the arithmetic of the matrix products divided by the time of everything, so kernels,
// planning and transfers are in them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "model/architecture.hpp"

namespace factflow {

enum class RowLength { kOneToken, kSeveralTokens };

// One line of `sweep_bench --rates FILE` or `trace_bench --rates FILE`.
struct MeasuredRate {
  std::string device;     // "NVIDIA H100 80GB HBM3", "2 cores, avx512"
  std::string precision;  // as in `run: {precision: ...}`
  std::string kind;       // Architecture::mixing()
  int hidden = 0;         // width of the residual stream
  double flops_per_second = 0;
  RowLength rows = RowLength::kOneToken;
};

class RateTable {
 public:
  // The rates of bench/RESULTS.md.
  RateTable();
  // From a CSV file with the columns device, precision, kind, hidden, flops_per_second, rows, the
  // last of them `one` or `several` tokens long; without it, one. Throws InputError with the line.
  explicit RateTable(const std::filesystem::path& file);

  // Devices with rates in this precision, in the order of the table.
  std::vector<std::string> devices(const std::string& precision) const;
  // FLOP/s of an architecture: between two measured widths along a power law; below the narrowest
  // in proportion to the width, since what is narrow is bound by launches and memory; above the
  // widest that of the widest. Rows of several tokens are as much slower than those of one as at
  // the nearest width where both were measured; as fast where that is nowhere. 0 if nothing of its
  // kind was measured on this device in this precision.
  double flops_per_second(const std::string& device, const std::string& precision,
                          const Architecture& architecture,
                          RowLength rows = RowLength::kOneToken) const;

 private:
  std::vector<MeasuredRate> rates_;
};

}  // namespace factflow
