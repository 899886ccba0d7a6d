// The oracle's answers about edits, linear relations and gradient estimates, computed through the
// reference forward.
#pragma once

#include <vector>

#include "model/locate_cases.hpp"
#include "model/locate_check.hpp"
#include "model/network.hpp"

namespace factflow {

// What does not depend on an optimisation, or on at most five steps of one: 1e-6; on more: 1e-5
// (tests/oracle/README.md, "Locate and edit"). The network, which must be in fp64, is edited on the
// way and is what it was afterwards. Throws InputError for another precision, and
// std::invalid_argument for what the cases name and the network does not have.
std::vector<LocateCheck> check_locate_cases(Network& network, const LocateCases& cases);

// Its parts.
std::vector<LocateCheck> check_edits(Network& network, const LocateCases& cases);
LocateCheck check_memit(Network& network, const LocateCases& cases);
LocateCheck check_lre(const Network& network, const LocateCases& cases);
LocateCheck check_attributions(const Network& network, const LocateCases& cases);

}  // namespace factflow
