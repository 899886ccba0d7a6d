find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(OpenMP REQUIRED)
if(NOT FACTFLOW_PYTHON_MODULE)
  find_package(Boost REQUIRED COMPONENTS program_options)
endif()
find_package(Torch REQUIRED)

# The compiled fmt spares each object file a copy of it, half of the time that many of them take to compile. PyTorch's
# wheels bring fmt's headers, of another version than the library; whichever are found first then have to do alone. Nothing of
# libtorch that the Python module reads needs them, so there the library's stand before them.
set(FACTFLOW_FMT fmt::fmt)
foreach(directory ${TORCH_INCLUDE_DIRS})
  if(EXISTS ${directory}/fmt/core.h AND NOT directory STREQUAL "/usr/include")
    if(FACTFLOW_PYTHON_MODULE)
      get_target_property(fmt_directories fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
      list(GET fmt_directories 0 fmt_directory)
      file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/include)
      file(CREATE_LINK ${fmt_directory}/fmt ${CMAKE_BINARY_DIR}/include/fmt SYMBOLIC)
      include_directories(BEFORE ${CMAKE_BINARY_DIR}/include)
    else()
      set(FACTFLOW_FMT fmt::fmt-header-only)
    endif()
  endif()
endforeach()

# Debian's libtorch takes whichever OpenBLAS has the highest priority on the machine, and that becomes the build with
# threads of its own as soon as anything brings libopenblas-dev (python3-scipy does). Its threads and those of the kernels
# then wait on the same cores, and two of them are slower than one. So the programs ask for the build that shares OpenMP's
# threads by itself: as RPATH, which unlike RUNPATH holds for the libraries of libraries too.
if(TORCH_INSTALL_PREFIX STREQUAL "/usr")
  find_path(FACTFLOW_OPENBLAS_OPENMP libblas.so.3 NO_DEFAULT_PATH
    PATHS /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/openblas-openmp /usr/lib64/openblas-openmp
    DOC "folder of an OpenBLAS that uses OpenMP's threads")
  if(FACTFLOW_OPENBLAS_OPENMP)
    add_link_options(-Wl,--disable-new-dtags "-Wl,-rpath,${FACTFLOW_OPENBLAS_OPENMP}")
  endif()
endif()

# What every target of the project shares: include root, warnings, sanitizers.
add_library(factflow_options INTERFACE)
target_include_directories(factflow_options INTERFACE ${CMAKE_SOURCE_DIR})
if(NOT FACTFLOW_PYTHON_MODULE)
  target_compile_options(factflow_options INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion>
    # GCC 12 reports string concatenation falsely (GCC bug 105651).
    $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-restrict>)
endif()
if(FACTFLOW_SANITIZE)
  target_compile_options(factflow_options INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${FACTFLOW_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all>)
  target_link_options(factflow_options INTERFACE -fsanitize=${FACTFLOW_SANITIZE})
endif()
if(FACTFLOW_FUZZ)
  target_compile_options(factflow_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=fuzzer-no-link>)
endif()

# factflow_library(NAME SOURCES... [LINK ...]): a static library of one folder.
function(factflow_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC factflow_options ${ARG_LINK})
endfunction()

# factflow_precompile(TARGET): the headers of libtorch, JSON and fmt, compiled once for all targets that read them.
function(factflow_precompile target)
  if(target STREQUAL factflow_model)
    target_precompile_headers(${target} PRIVATE <ATen/ATen.h> <nlohmann/json.hpp> <fmt/format.h>)
  else()
    target_precompile_headers(${target} REUSE_FROM factflow_model)
  endif()
  # For ccache, which keeps what uses a precompiled header only if it sees where that is read.
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fpch-preprocess>)
endfunction()

# factflow_test(NAME SOURCES... LINK ... [LABELS ...]): a GoogleTest program, one CTest entry per program.
function(factflow_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK;LABELS" ${ARGN})
  find_package(GTest REQUIRED)
  add_executable(${name} ${ARG_SOURCES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  # A test is compiled more often than it is run.
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  target_link_libraries(${name} PRIVATE factflow_options tests_source_dir ${ARG_LINK} GTest::gtest_main GTest::gmock)
  add_test(NAME ${name} COMMAND ${name})
  if(ARG_LABELS)
    set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}")
  endif()
endfunction()

# factflow_fuzzer(NAME SOURCE LINK...): a libFuzzer harness; needs clang and FACTFLOW_FUZZ.
function(factflow_fuzzer name source)
  if(FACTFLOW_FUZZ)
    add_executable(${name} ${source})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
    target_link_libraries(${name} PRIVATE factflow_options ${ARGN})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  endif()
endfunction()
