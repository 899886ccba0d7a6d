#include "workers/device_choice.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include <fmt/format.h>

#include "base/error.hpp"

namespace factflow {
namespace {

constexpr int kNobody = -1;

// Gives GPUs to ranks, one each, to as many ranks as possible: augmenting paths in the graph of who
// sees what.
class Matching {
 public:
  explicit Matching(const std::vector<Outlook>& ranks) : ranks_(ranks) {
    for (int rank = 0; rank < static_cast<int>(ranks.size()); ++rank) {
      std::set<std::string> tried;
      seat(rank, tried);
    }
  }

  // The number of the rank's GPU in its own list; -1 if none was left.
  int gpu_of(int rank) const {
    const std::vector<std::string>& gpus = ranks_[static_cast<size_t>(rank)].gpus;
    const auto mine = std::find_if(gpus.begin(), gpus.end(),
                                   [&](const std::string& gpu) { return holder(gpu) == rank; });
    return mine == gpus.end() ? -1 : static_cast<int>(mine - gpus.begin());
  }

 private:
  int holder(const std::string& gpu) const {
    const auto found = holders_.find(gpu);
    return found == holders_.end() ? kNobody : found->second;
  }

  bool seat(int rank, std::set<std::string>& tried) {
    const std::vector<std::string>& gpus = ranks_[static_cast<size_t>(rank)].gpus;
    // A free one first, so that ranks that all see the same GPUs get them in order.
    for (const std::string& gpu : gpus)
      if (holder(gpu) == kNobody) return holders_[gpu] = rank, true;
    for (const std::string& gpu : gpus) {
      if (!tried.insert(gpu).second || !seat(holder(gpu), tried)) continue;
      holders_[gpu] = rank;
      return true;
    }
    return false;
  }

  const std::vector<Outlook>& ranks_;
  std::map<std::string, int> holders_;
};

std::vector<int> on_host(const std::vector<Outlook>& ranks, const std::string& host) {
  std::vector<int> numbers;
  for (size_t i = 0; i < ranks.size(); ++i)
    if (ranks[i].host == host) numbers.push_back(static_cast<int>(i));
  return numbers;
}

size_t gpus_on(const std::vector<Outlook>& ranks, const std::vector<int>& numbers) {
  std::set<std::string> gpus;
  for (const int number : numbers)
    gpus.insert(ranks[static_cast<size_t>(number)].gpus.begin(),
                ranks[static_cast<size_t>(number)].gpus.end());
  return gpus.size();
}

[[noreturn]] void refuse(const std::vector<Outlook>& ranks, int rank) {
  const std::string& host = ranks[static_cast<size_t>(rank)].host;
  const std::vector<int> there = on_host(ranks, host);
  const size_t gpus = gpus_on(ranks, there);
  throw InputError(
      "device",
      fmt::format("{} ranks on {} and only {} {} that they may use", there.size(), host, gpus,
                  gpus == 1 ? "GPU" : "GPUs"),
      fmt::format("start {} {} there, or let ranks share with run: {{share_gpus: true}}", gpus,
                  gpus == 1 ? "rank" : "ranks"));
}

}  // namespace

std::string encode(const Outlook& outlook) {
  std::string bytes = outlook.host;
  for (const std::string& gpu : outlook.gpus) bytes += "\n" + gpu;
  return bytes;
}

std::vector<Outlook> decode_outlooks(const std::vector<std::string>& bytes) {
  std::vector<Outlook> outlooks;
  for (const std::string& one : bytes) {
    Outlook& outlook = outlooks.emplace_back();
    std::istringstream lines(one);
    std::getline(lines, outlook.host);
    for (std::string gpu; std::getline(lines, gpu);) outlook.gpus.push_back(gpu);
  }
  return outlooks;
}

std::string assign_device(const std::string& device, bool share, const std::vector<Outlook>& ranks,
                          int rank) {
  if (device != "auto" && device != "cuda") return device;
  const auto blind = std::find_if(ranks.begin(), ranks.end(),
                                  [](const Outlook& outlook) { return outlook.gpus.empty(); });
  const bool none = std::all_of(ranks.begin(), ranks.end(),
                                [](const Outlook& outlook) { return outlook.gpus.empty(); });
  if (none) return device;
  if (blind != ranks.end())
    throw InputError("device",
                     fmt::format("rank {} on {} may use no GPU while others may",
                                 blind - ranks.begin(), blind->host),
                     "look at CUDA_VISIBLE_DEVICES and at the GPUs that the job asks for, or use "
                     "device: cpu for all");
  const Matching matching(ranks);
  if (!share)
    for (int other = 0; other < static_cast<int>(ranks.size()); ++other)
      if (matching.gpu_of(other) < 0) refuse(ranks, other);
  int gpu = matching.gpu_of(rank);
  if (gpu < 0) {
    const Outlook& outlook = ranks[static_cast<size_t>(rank)];
    const std::vector<int> there = on_host(ranks, outlook.host);
    const auto local = std::find(there.begin(), there.end(), rank) - there.begin();
    gpu = static_cast<int>(static_cast<size_t>(local) % outlook.gpus.size());
  }
  return fmt::format("cuda:{}", gpu);
}

}  // namespace factflow
