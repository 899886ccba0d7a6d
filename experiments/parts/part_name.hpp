// A single part of a division by its name: what a sweep takes beside its channel sets.
#pragma once

#include <optional>
#include <string>

#include "experiments/parts/division.hpp"

namespace factflow {

// "random 2/12 seed 3", "group 2/12", "head 3". Slices of the decay ranking are channel sets.
struct PartName {
  Division division;
  int place = 0;  // of the part among those of the division
  bool operator==(const PartName&) const = default;
};
std::string to_string(const PartName& part);
// The seed may be left out and is 1 then. Throws InputError.
PartName parse_part_name(const std::string& given);
Form<PartName> part_name_form();

// The part of such a model; nothing for a model of another kind (heads of a Mamba-1). Throws
// std::invalid_argument as divisible_of() and parts_of() do, and for a head that there is not.
std::optional<EdgePart> part_called(const PartName& name, const Divisible& among);

}  // namespace factflow
