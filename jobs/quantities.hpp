// Times and sizes as a profile says them, in the words of sbatch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace factflow {

// "04:00:00", "1-12:00:00" or "1-12" as they are; "4h", "1d 12h", "90 min" as "0-01:30:00";
// "unlimited" as "UNLIMITED". Throws InputError, without a place, for anything else. So "240" and
// "04:00" are refused: sbatch would take them for minutes, and for minutes and seconds.
std::string parse_time_limit(const std::string& given);

// What a time limit of the above means; nothing where there is none.
std::optional<std::int64_t> seconds_of_limit(const std::string& limit);

// "0-04:00:00", in whole minutes, rounded up.
std::string show_time_limit(std::int64_t seconds);

// "64G" as it is; "64 GiB" and "64GB" likewise (sbatch's units are powers of 1024); "1.5G" as
// "1536M"; "all", the whole memory of a node, as "0". Throws InputError, without a place, for
// anything else. So "64" is refused: sbatch would take it for 64 MiB.
std::string parse_memory(const std::string& given);

}  // namespace factflow
