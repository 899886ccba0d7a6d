// How many units a second one coordinator hands out, receives and commits to disk, with many
// workers that compute nothing.
//   coordinator_bench [--workers 512] [--units 60000] [--bytes 20480] [--directory DIR]
//   [--milliseconds 0]
// Real journal, real message layer (local transport), real work loops: two threads per worker in
// this one process.
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <boost/program_options.hpp>
#include <unistd.h>

#include "base/files.hpp"
#include "base/text.hpp"
#include "pipeline/coordination/coordinator.hpp"
#include "workers/local_transport.hpp"
#include "workers/work_loop.hpp"

namespace factflow {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

struct Settings {
  int workers = 512;
  std::uint64_t units = 60'000;
  std::size_t bytes = 20'480;  // one result: 20 KB is some 100 prompts x 50 window starts
  int milliseconds_per_unit = 0;
  std::string directory;
};

double resident_megabytes() {
  std::ifstream file("/proc/self/statm");
  long total = 0, resident = 0;
  file >> total >> resident;
  return static_cast<double>(resident * ::sysconf(_SC_PAGESIZE)) / 1e6;
}

// A long run as the coordinator sees one: at any moment a few thousand released units, and each
// that is done releases the next.
class EndlessPlan : public TaskSource {
 public:
  EndlessPlan(std::uint64_t units, std::uint64_t released)
      : units_(units), first_(std::min(units, released)) {}
  std::vector<Task> initial() override {
    std::vector<Task> tasks;
    while (next_ < first_) tasks.push_back(next());
    return tasks;
  }
  std::vector<Task> completed(std::uint64_t, std::string) override {
    if (next_ == units_) return {};
    return {next()};
  }
  std::vector<Task> failed(std::uint64_t, const std::string&) override { return {}; }
  std::vector<Task> split(std::uint64_t) override { return {}; }

 private:
  Task next() {
    const std::uint64_t unit = next_++;
    return {unit, static_cast<std::uint32_t>(unit % 12), 1.0 + static_cast<double>(unit % 17),
            std::string(100, 't')};
  }
  std::uint64_t units_, first_, next_ = 0;
};

Settings parse(int argc, char** argv) {
  namespace po = boost::program_options;
  Settings settings;
  po::options_description options("coordinator_bench");
  options.add_options()("workers", po::value(&settings.workers))(
      "units", po::value(&settings.units))("bytes", po::value(&settings.bytes))(
      "directory", po::value(&settings.directory))("milliseconds",
                                                   po::value(&settings.milliseconds_per_unit));
  po::variables_map values;
  po::store(po::parse_command_line(argc, argv, options), values);
  po::notify(values);
  return settings;
}

void run(const Settings& settings, const std::filesystem::path& directory) {
  LocalTransport transport(settings.workers);
  JournalIndex index(system_files(), directory, "bench");
  Journal journal(system_files(), directory, "bench", "main", index);
  EndlessPlan plan(settings.units, static_cast<std::uint64_t>(settings.workers) * 8);
  CoordinatorOptions options;
  const Clock::time_point start = Clock::now();
  std::uint64_t next_line = settings.units / 10;
  options.progress_interval = milliseconds(20);
  options.on_progress = [&](const Progress& progress) {
    if (progress.units_done < next_line) return;
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    std::printf("%8llu units  %6.0f units/s  %5llu commits  resident %.0f MB\n",
                static_cast<unsigned long long>(progress.units_done),
                static_cast<double>(progress.units_done) / seconds,
                static_cast<unsigned long long>(journal.commits()), resident_megabytes());
    next_line += settings.units / 10;
  };
  Coordinator coordinator(transport, plan, index, journal, options);
  const std::string result(settings.bytes, 'r');
  std::vector<std::thread> workers;
  for (int i = 0; i < settings.workers; ++i)
    workers.emplace_back([&, i] {
      work(transport.worker(i), [&](std::uint64_t, const std::string&, const std::atomic<bool>&) {
        std::this_thread::sleep_for(milliseconds(settings.milliseconds_per_unit));
        return result;
      });
    });
  const Outcome outcome = coordinator.run();
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  for (std::thread& worker : workers) worker.join();
  std::printf(
      "%d workers, %llu units of %s: %.0f units/s, %s/s, %llu commits, resident %.0f MB\n",
      settings.workers, static_cast<unsigned long long>(outcome.units_done),
      format_bytes(static_cast<double>(settings.bytes)).c_str(),
      static_cast<double>(outcome.units_done) / seconds,
      format_bytes(static_cast<double>(outcome.units_done * settings.bytes) / seconds).c_str(),
      static_cast<unsigned long long>(journal.commits()), resident_megabytes());
}

}  // namespace
}  // namespace factflow

int main(int argc, char** argv) {
  const factflow::Settings settings = factflow::parse(argc, argv);
  std::filesystem::path directory = settings.directory;
  if (directory.empty()) directory = std::filesystem::current_path() / "coordinator_bench_journal";
  factflow::remove_tree(directory);
  factflow::run(settings, directory);
  factflow::remove_tree(directory);
  return 0;
}
