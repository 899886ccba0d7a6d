#include "experiments/forms.hpp"

namespace factflow {

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

}  // namespace factflow
