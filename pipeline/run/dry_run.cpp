#include <iostream>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/device.hpp"
#include "model/threads.hpp"
#include "pipeline/coordination/journal.hpp"
#include "pipeline/coordination/run_lock.hpp"
#include "pipeline/run/checked_run.hpp"
#include "pipeline/run/plan_size.hpp"
#include "pipeline/run/run.hpp"
#include "pipeline/run/run_directory.hpp"
#include "workers/device_choice.hpp"
#include "workers/mpi_transport.hpp"

namespace factflow {
namespace {

// Throws BusyError for what would keep a run waiting or end it.
void require_free(const std::filesystem::path& path, const RunOptions& options) {
  for (const SeenOwner& owner : owners_of(path))
    if (owner.alive && !(owner.shares && options.share))
      throw BusyError(
          fmt::format("{}: is in use by {}; wait for it to end, or choose another "
                      "output directory",
                      path.string(), owner.description));
}

// What is there already, and what becomes of it.
std::string beginning(const RunDirectory& directory, const RunOptions& options,
                      const std::string& units) {
  if (options.fresh && std::filesystem::exists(directory.path / "run.json"))
    return fmt::format("would start over in {}, and remove what an earlier run left there: {}",
                       directory.path.string(), units);
  if (!directory.begun) return fmt::format("would begin {}: {}", directory.path.string(), units);
  const JournalIndex index(system_files(), directory.journal(), directory.identity);
  return fmt::format("would continue {}: {}, of which {} there", directory.path.string(), units,
                     counted(index.units(), "is", "are"));
}

std::string answer(const RunOptions& options) {
  const CheckedRun checked = check_run(options.config, options.overrides);
  const Config& config = checked.config;
  if (const std::string problem = machine_problem(config.run); !problem.empty())
    throw InputError("", problem);
  const std::filesystem::path path =
      options.out.empty() ? std::filesystem::path("runs") / config.name : options.out;
  if (options.fresh) check_configuration_survives(options.config, path);
  require_free(path, options);
  const RunDirectory directory =
      check_run_directory(path, config, checked.dataset, {options.fresh, !options.share});
  std::string text = fmt::format("{}: {} ({}), {}\n", config.name,
                                 counted(checked.dataset.prompts.size(), "prompt"),
                                 checked.dataset.format, counted(config.models.size(), "model"));
  for (const std::string& sentence : remarks_on(config, checked.dataset))
    text += fmt::format("  {}\n", sentence);
  const PlanSize size = size_of_plan(config, checked.dataset, checked.planned, false);
  text += beginning(directory, options,
                    fmt::format("at most {} units, {} rows, {} of results",
                                format_count(size.total.units), format_count(size.total.rows),
                                format_bytes(size.total.bytes))) +
          "\n";
  for (const DeviceTime& time : times_of(config, checked.planned, size, RateTable()))
    text += fmt::format("  about {} in {} on one {}, plus loading\n", format_duration(time.seconds),
                        config.run.precision, time.device);
  return text;
}

// On every rank of the launch.
void look(Launch& launch, const RunOptions& options) {
  std::string text, device_wanted;
  bool share_gpus = false;
  int threads = 0;
  launch.together([&] {
    if (launch.rank() == 0) text = answer(options);
  });
  // What the ranks would compute on: the configuration is small, so each reads it.
  std::string devices;
  launch.together([&] {
    const Config config = read_config(options.config, options.overrides.set);
    device_wanted = config.run.device;
    share_gpus = config.run.share_gpus;
    threads = config.run.threads_per_rank;
    devices = encode(Outlook{launch.host(),
                             device_wanted == "cpu" ? std::vector<std::string>{} : visible_gpus()});
  });
  const std::vector<Outlook> outlooks = decode_outlooks(launch.gather(devices));
  launch.together([&] {
    const std::string device = assign_device(device_wanted, share_gpus, outlooks, launch.rank());
    set_threads(threads, launch.ranks_on_node());
    if (launch.rank() == 0)
      text += fmt::format("{} on {}\n", counted(static_cast<std::uint64_t>(launch.size()), "rank"),
                          describe(choose_device(device)));
  });
  if (launch.rank() == 0)
    std::cout << text << "nothing was computed, and nothing written (--dry-run)\n" << std::flush;
}

}  // namespace

int dry_run(const RunOptions& options) {
  Launch launch;
  try {
    look(launch, options);
  } catch (const Error& error) {
    // Thrown on every rank alike: rank 0 speaks.
    if (launch.rank() == 0) std::cerr << "factflow: " << error.what() << '\n';
    return launch.finish(error.exit_code());
  }
  return launch.finish(0);
}

}  // namespace factflow
