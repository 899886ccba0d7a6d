# Settings of a build of the Python package's module (FACTFLOW_PYTHON_MODULE): the engine as position-independent code against the
# torch that the interpreter has. Of what the libraries hold only what is reached remains, and nothing of it is visible outside.
find_package(Python 3.11 REQUIRED COMPONENTS Interpreter Development.Module)
# -I: pip builds in an environment of its own, laid over this one by variables; the torch that counts is the one below.
execute_process(
  COMMAND ${Python_EXECUTABLE} -I -c "import torch; print(torch.__version__, torch.utils.cmake_prefix_path, torch.compiled_with_cxx11_abi(), sep=';')"
  OUTPUT_VARIABLE torch_found OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE status ERROR_QUIET)
if(NOT status EQUAL 0)
  message(STATUS "${Python_EXECUTABLE} has no torch: the Python package gets no engine, and reads runs")
  set(FACTFLOW_ENGINE OFF)
  return()
endif()
set(FACTFLOW_ENGINE ON)
list(GET torch_found 0 FACTFLOW_TORCH_VERSION)
list(GET torch_found 1 torch_prefix)
list(GET torch_found 2 FACTFLOW_TORCH_CXX11_ABI)
# Also where its libraries are: torch's own package would else take a libc10 of the system, if there is one.
get_filename_component(torch_root ${torch_prefix}/../.. ABSOLUTE)
list(PREPEND CMAKE_PREFIX_PATH ${torch_prefix} ${torch_root})
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
add_compile_options(-ffunction-sections -fdata-sections)
# It is compiled where it is installed, in minutes that somebody waits for. All arithmetic of the engine is in the kernels, which
# have flags of their own (model/kernels/CMakeLists.txt), and in libtorch; what is left has the same bits at every level. Warnings
# are those of the program's build.
set(CMAKE_CXX_FLAGS_RELEASE "-O1 -DNDEBUG")
