#pragma once

#include "model/families/family.hpp"

namespace factflow {

Family toy_family();

}  // namespace factflow
