#include "pipeline/commands/versions.hpp"

#include <fmt/format.h>

#include "base/version.hpp"
#include "model/device.hpp"
#include "model/threads.hpp"
#include "results/hdf5_file.hpp"
#include "workers/mpi_transport.hpp"

namespace factflow {

std::string versions(const std::string& commit) {
  std::string text = fmt::format("factflow {}, commit {}\n{}, HDF5 {}, {}\n{}\n", version(), commit,
                                 library_versions(), hdf5::library_version(), mpi_version(),
                                 describe(at::Device(at::kCPU)));
  for (size_t i = 0; i < visible_gpus().size(); ++i) {
    const at::Device device(at::kCUDA, static_cast<at::DeviceIndex>(i));
    text += fmt::format("{}: {}\n", device.str(), describe(device));
  }
  return text;
}

}  // namespace factflow
