// Which device each rank computes on: a GPU of its own, whatever the launcher or the user lets it
// see.
#pragma once

#include <string>
#include <vector>

namespace factflow {

// What one rank sees. Under CUDA_VISIBLE_DEVICES, and where SLURM binds GPUs to tasks, ranks of one
// node see different GPUs, or the same ones under different numbers; so GPUs go by names that are
// the same for everyone (visible_gpus in model/device.hpp).
struct Outlook {
  std::string host;
  std::vector<std::string> gpus;  // in this rank's numbering
};
std::string encode(const Outlook& outlook);
std::vector<Outlook> decode_outlooks(const std::vector<std::string>& bytes);

// The device of rank `rank`, as choose_device in model/device.hpp takes it. `device`: of the
// configuration. With auto or cuda every rank gets a GPU that no other rank has, in the order of
// ranks and numbers as far as that goes; with `share`, ranks that are left over share GPUs evenly.
// cuda:N is what every rank of a node gets, so it shares, too. Pure: the same answer on every rank.
// Throws InputError if there are more ranks than GPUs, or if only some ranks see any.
std::string assign_device(const std::string& device, bool share, const std::vector<Outlook>& ranks,
                          int rank);

}  // namespace factflow
