#include "pipeline/run/rate_table.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <map>
#include <string_view>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "base/text_file.hpp"
#include "pipeline/input/csv.hpp"
#include "pipeline/run/measured_rates.hpp"

namespace factflow {
namespace {

constexpr size_t kLongestRecord = 1000;
constexpr std::string_view kColumns = "device,precision,kind,hidden,flops_per_second,rows",
                           kFirstColumns = "device,precision,kind,hidden,flops_per_second";

MeasuredRate rate_of(const CsvRecord& record, const std::string& where) {
  const auto fail = [&](const std::string& problem) {
    throw InputError(fmt::format("{}:{}", where, record.line), problem,
                     fmt::format("write the columns {}", kColumns));
  };
  if (!record.problem.empty()) fail(record.problem);
  if (record.values.size() != 5 && record.values.size() != 6)
    fail(fmt::format("expected 5 or 6 values, found {}", record.values.size()));
  MeasuredRate rate{record.values[0], record.values[1], record.values[2]};
  const auto read = [&](const std::string& text, auto& number, const char* column) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || !(number > 0) ||
        !std::isfinite(static_cast<double>(number)))
      fail(fmt::format("{}: expected a positive number, found {}", column, in_quotes(text)));
  };
  read(record.values[3], rate.hidden, "hidden");
  read(record.values[4], rate.flops_per_second, "flops_per_second");
  if (record.values.size() == 6) {
    const std::string& rows = record.values[5];
    if (rows != "one" && rows != "several")
      fail(fmt::format("rows: expected one or several, found {}", in_quotes(rows)));
    if (rows == "several") rate.rows = RowLength::kSeveralTokens;
  }
  return rate;
}

std::vector<MeasuredRate> read_rates(std::string_view text, const std::string& where) {
  std::vector<MeasuredRate> rates;
  CsvReader reader(text, kLongestRecord);
  for (CsvRecord record; reader.next(record);)
    if (const std::string line = join(record.values, ",");
        !record.problem.empty() || (line != kColumns && line != kFirstColumns))
      rates.push_back(rate_of(record, where));
  return rates;
}

double at_width(const std::map<int, double>& by_width, int hidden) {
  const auto above = by_width.lower_bound(hidden);
  if (above == by_width.end()) return by_width.rbegin()->second;
  const double width = hidden;
  if (above == by_width.begin()) return above->second * width / above->first;
  const auto below = std::prev(above);
  const double share =
      std::log(width / below->first) / std::log(static_cast<double>(above->first) / below->first);
  return below->second * std::pow(above->second / below->second, share);
}

// The rate at the measured width that is nearest, as a share of that of rows of one token there.
double share_at_nearest(const std::map<int, double>& several, const std::map<int, double>& one,
                        int hidden) {
  const auto distance = [&](int width) {
    return std::abs(std::log(static_cast<double>(width) / hidden));
  };
  const auto nearest = std::min_element(
      several.begin(), several.end(),
      [&](const auto& a, const auto& b) { return distance(a.first) < distance(b.first); });
  return nearest->second / at_width(one, nearest->first);
}

}  // namespace

RateTable::RateTable() : rates_(read_rates(kMeasuredRates, "measured rates")) {}

RateTable::RateTable(const std::filesystem::path& file)
    : rates_(read_rates(read_text_file(file), file.string())) {}

std::vector<std::string> RateTable::devices(const std::string& precision) const {
  std::vector<std::string> names;
  for (const MeasuredRate& rate : rates_)
    if (rate.precision == precision &&
        std::find(names.begin(), names.end(), rate.device) == names.end())
      names.push_back(rate.device);
  return names;
}

double RateTable::flops_per_second(const std::string& device, const std::string& precision,
                                   const Architecture& architecture, RowLength rows) const {
  const std::string kind = architecture.mixing();
  std::map<int, double> one, several;
  for (const MeasuredRate& rate : rates_)
    if (rate.device == device && rate.precision == precision && rate.kind == kind)
      (rate.rows == RowLength::kOneToken ? one : several)[rate.hidden] = rate.flops_per_second;
  if (one.empty()) return 0;
  const double of_one = at_width(one, architecture.hidden);
  return rows == RowLength::kOneToken || several.empty()
             ? of_one
             : of_one * share_at_nearest(several, one, architecture.hidden);
}

}  // namespace factflow
