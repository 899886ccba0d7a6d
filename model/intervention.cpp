#include "model/intervention.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/text.hpp"

namespace factflow {

const std::vector<std::string>& site_names() {
  static const std::vector<std::string> names = {
      "h", "a", "xbc", "conv", "skip", "s", "g", "y", "o", "mlp_in", "mlp_hidden", "mlp", "norm"};
  return names;
}

std::string to_string(Site site) {
  return site_names()[static_cast<size_t>(site)];
}

Site parse_site(std::string_view name) {
  const auto found = std::find(site_names().begin(), site_names().end(), name);
  if (found == site_names().end())
    throw InputError("site", unknown_word("site", name, site_names()), "");
  return static_cast<Site>(found - site_names().begin());
}

}  // namespace factflow
