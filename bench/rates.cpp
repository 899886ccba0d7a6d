#include "bench/rates.hpp"

#include <fstream>

#include <fmt/format.h>

#include "base/error.hpp"
#include "model/device.hpp"

namespace factflow {

void append_rate(const std::string& file, const Network& network, double flops_per_second,
                 const char* rows) {
  const Architecture& architecture = network.architecture();
  std::ofstream out(file, std::ios::app);
  out << fmt::format("\"{}\",{},{},{},{:.4g},{}\n", describe(network.device()),
                     to_string(network.precision()), architecture.mixing(), architecture.hidden,
                     flops_per_second, rows);
  if (!out) throw RunError(fmt::format("{}: cannot be written", file));
}

}  // namespace factflow
