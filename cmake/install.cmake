# What `cmake --install` puts where, and the Debian package that `make package` makes of it (docs/install.md).
include(GNUInstallDirs)

# Of a libtorch that lies in no folder of the system, as that of a PyTorch wheel, the installed program keeps the place; and that of
# the OpenBLAS it asks for (factflow.cmake).
set_target_properties(factflow PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON INSTALL_RPATH "${FACTFLOW_OPENBLAS_OPENMP}")
install(TARGETS factflow RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})

# Configurations name the demo's files by relative paths.
install(DIRECTORY configs DESTINATION ${CMAKE_INSTALL_DATADIR}/factflow)
install(DIRECTORY demo/models DESTINATION ${CMAKE_INSTALL_DATADIR}/factflow/demo)
install(DIRECTORY demo/ DESTINATION ${CMAKE_INSTALL_DATADIR}/factflow/demo FILES_MATCHING PATTERN "*.jsonl" PATTERN models EXCLUDE PATTERN relations EXCLUDE)
install(DIRECTORY demo/relations DESTINATION ${CMAKE_INSTALL_DATADIR}/factflow/demo)
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)

# Made by the program itself, when it is installed: a build of the target `factflow` alone is enough.
set(made ${CMAKE_BINARY_DIR}/documents)
install(CODE "
  file(MAKE_DIRECTORY \"${made}\")
  execute_process(COMMAND \"$<TARGET_FILE:factflow>\" man OUTPUT_FILE \"${made}/factflow.1\" COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND \"$<TARGET_FILE:factflow>\" completion bash OUTPUT_FILE \"${made}/factflow\" COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND \"$<TARGET_FILE:factflow>\" completion zsh OUTPUT_FILE \"${made}/_factflow\" COMMAND_ERROR_IS_FATAL ANY)
  # Where zsh looks: Debian's packages have a folder of their own.
  set(zsh site-functions)
  if(CMAKE_INSTALL_PREFIX MATCHES \"/usr$\")
    set(zsh vendor-completions)
  endif()
  set(share \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}\")
  file(INSTALL \"${made}/factflow.1\" DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_MANDIR}/man1\")
  file(INSTALL \"${made}/factflow\" DESTINATION \"\${share}/bash-completion/completions\")
  file(INSTALL \"${made}/_factflow\" DESTINATION \"\${share}/zsh/\${zsh}\")")

# A package names the packages of what it is linked with, so there is none where libtorch comes from elsewhere.
if(TORCH_INSTALL_PREFIX STREQUAL "/usr")
  set(CPACK_GENERATOR DEB)
  set(CPACK_PACKAGE_NAME factflow)
  set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
  set(CPACK_PACKAGE_CONTACT "factflow developers <factflow@localhost>")
  set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "where factual information flows inside language models")
  set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "Knockouts, traces and edits of facts in language models.
 Blocks the flow between chosen tokens in windows of layers, for sweeps over
 many models and prompts, alone or on a cluster by MPI, and makes tables,
 figures and a report of what it finds.")
  set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR}/packages)
  set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
  set(CPACK_STRIP_FILES ON)
  set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
  set(CPACK_DEBIAN_COMPRESSION_TYPE zstd)
  set(CPACK_DEBIAN_PACKAGE_SECTION science)
  # dpkg-shlibdeps finds the libraries' packages; these are what it cannot see: programs, fonts, and the OpenBLAS of our choice.
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
  set(CPACK_DEBIAN_PACKAGE_DEPENDS "libopenblas0-openmp, openmpi-bin, gnuplot-nox | gnuplot, fontconfig, fonts-liberation, fonts-noto-core")
  set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "fonts-wqy-microhei, fonts-noto-color-emoji")
  include(CPack)
endif()
