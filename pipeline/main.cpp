// factflow: where factual information flows inside language models. Dispatches to
// pipeline/commands/.
#include <cstdio>
#include <cstring>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/version.hpp"
#include "pipeline/commands/command.hpp"
#include "pipeline/commands/versions.hpp"
#include "pipeline/run/stop_signals.hpp"

namespace {

int dispatch(const std::vector<std::string>& arguments) {
  const std::string first = arguments.empty() ? "" : arguments[0];
  if (first == "--version" || first == "-V" || first == "version") {
    std::cout << factflow::versions(factflow::commit());
    return 0;
  }
  if (first == "help" && arguments.size() > 1) {
    if (arguments.size() > 2)
      throw factflow::InputError("factflow help", "explains one command at a time",
                                 "see factflow --help");
    std::cout << factflow::help_text(factflow::command_named(arguments[1]));
    return 0;
  }
  if (arguments.empty() || first == "--help" || first == "-h" || first == "help") {
    std::cout << factflow::help_text();
    return arguments.empty() ? 2 : 0;
  }
  return run(factflow::command_named(first), {arguments.begin() + 1, arguments.end()});
}

// Before main, and before the constructors of libtorch, which take most of a second in which a
// signal would end the process. glibc hands over what main gets.
void catch_signals_of_a_run(int argc, char** argv, char** /*environment*/) {
  if (argc > 1 && std::strcmp(argv[1], "run") == 0) factflow::catch_stop_signals();
}
[[gnu::used, gnu::section(".preinit_array")]] void (*const before_constructors)(
    int, char**, char**) = catch_signals_of_a_run;

}  // namespace

int main(int argc, char** argv) {
  try {
    return dispatch({argv + 1, argv + argc});
  } catch (const factflow::Error& error) {
    std::fprintf(stderr, "factflow: %s\n", error.what());
    return error.exit_code();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "factflow: internal error: %s\n", error.what());
    return 1;
  }
}
