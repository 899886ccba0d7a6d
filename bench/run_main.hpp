// What every benchmark's main() does with errors: one line, and the exit code of the error's kind.
#pragma once

#include <exception>
#include <iostream>

#include "base/error.hpp"

namespace factflow {

template <class Function>
int run_main(Function function) {
  try {
    return function();
  } catch (const Error& error) {
    std::cerr << error.what() << '\n';
    return error.exit_code();
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}

}  // namespace factflow
