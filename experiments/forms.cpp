#include "experiments/forms.hpp"

#include <charconv>
#include <cmath>

#include <fmt/format.h>

namespace factflow {
namespace {

double read_number(const YamlNode& node, const Place& place) {
  const std::string given = read_text(node, place, "a number");
  double value = 0;
  const auto [end, error] = std::from_chars(given.data(), given.data() + given.size(), value);
  if (error != std::errc() || end != given.data() + given.size() || !std::isfinite(value))
    reject_type(place, node, "a number");
  return value;
}

}  // namespace

Form<ChannelSet> channel_set_form() {
  return text_form(
      "channel set", [](const std::string& given) { return parse_channel_set(given); },
      [](const ChannelSet& channels) { return to_string(channels); });
}

Form<Site> site_form() {
  return text_form(
      "site", [](const std::string& given) { return parse_site(given); },
      [](Site site) { return to_string(site); });
}

Form<Path> path_form() {
  return text_form(
      "path", [](const std::string& given) { return parse_path(given); },
      [](Path path) { return to_string(path); });
}

Form<double> number() {
  return {"a number", read_number,
          [](double value, Purpose) { return YamlNode::of_text(fmt::format("{}", value)); }};
}

Form<double> number(double smallest, double largest) {
  Form<double> form = number();
  form.type = fmt::format("a number, {} to {}", smallest, largest);
  form.read = [smallest, largest, type = form.type](const YamlNode& node, const Place& place) {
    const double value = read_number(node, place);
    if (value < smallest || value > largest) reject_type(place, node, type);
    return value;
  };
  return form;
}

}  // namespace factflow
