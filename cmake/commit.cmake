# Writes FILE, which says what commit this is, if it would say something else than before. Run at every build
# (factflow_commit), so that the program never names an older one. Sources without a repository have no commit.
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=7 --exclude=*
  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
  set(commit "unknown")
endif()
set(text "#include \"base/version.hpp\"\n\nnamespace factflow {\n\nconst char* commit() {\n  return \"${commit}\";\n}\n\n}  // namespace factflow\n")
set(before "")
if(EXISTS ${FILE})
  file(READ ${FILE} before)
endif()
if(NOT before STREQUAL text)
  file(WRITE ${FILE} "${text}")
endif()
