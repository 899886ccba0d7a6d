// Says what an input error must look like, and that it is one line.
#pragma once

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"

namespace factflow {

// The message of the InputError that `action` throws, or "" with a test failure.
template <class Action>
std::string input_error_of(Action action) {
  try {
    action();
  } catch (const InputError& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_EQ(error.exit_code(), 2);
    return message;
  }
  ADD_FAILURE() << "expected an InputError";
  return "";
}

}  // namespace factflow
