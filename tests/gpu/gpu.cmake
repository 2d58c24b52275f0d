# Functions of the CUDA target on the host (tests/gpu/shim): what the shim must find, kernels by hand and by chance, and
# a whole program.
# Included by tests/tests.cmake, which defines T and test_program. Without g++ the tests are skipped (exit 77).
find_program(SHIM_CXX g++)
set(SHIM ${T}/gpu/shim)
set(SHIM_LIBRARY ${CMAKE_ARCHIVE_OUTPUT_DIRECTORY}/libstmshim.so) # STM_CUDA_DRIVER and STM_CUBLASLT may name it
set(BROKEN_CHECKED ${CMAKE_BINARY_DIR}/gpu/broken_checked.so)
set(BROKEN_PLAIN ${CMAKE_BINARY_DIR}/gpu/broken_plain.so)

if(SHIM_CXX)
  set(SHIM_BUILD ${CMAKE_COMMAND} -E env STM_SHIM_CXX=${SHIM_CXX} ${SHIM}/build_shim.sh)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/gpu ${CMAKE_ARCHIVE_OUTPUT_DIRECTORY})
  file(GLOB SHIM_SOURCES CONFIGURE_DEPENDS ${SHIM}/*)
  file(GLOB KERNEL_HEADERS CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/*)
  add_custom_command(OUTPUT ${SHIM_LIBRARY} COMMAND ${SHIM_BUILD} library ${SHIM_LIBRARY} DEPENDS ${SHIM_SOURCES})
  foreach(mode checked plain)
    add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/gpu/broken_${mode}.so
      COMMAND ${SHIM_BUILD} kernels ${CMAKE_BINARY_DIR}/gpu/broken_${mode}.so ${CMAKE_SOURCE_DIR}/kernels ${SHIM_LIBRARY} ${mode}
        ${T}/gpu/broken/kernels.cu
      DEPENDS ${SHIM_LIBRARY} ${KERNEL_HEADERS} ${T}/gpu/broken/kernels.cu)
  endforeach()
  add_custom_target(stmshim ALL DEPENDS ${SHIM_LIBRARY} ${BROKEN_CHECKED} ${BROKEN_PLAIN})

  test_program(shim_broken none "${BROKEN_CHECKED} ${BROKEN_PLAIN}" gpu/broken/broken_test.c)
  test_program(shim_driver none "${BROKEN_CHECKED}" gpu/broken/driver_test.c)
  test_program(shim_cublaslt none "" gpu/broken/cublaslt_test.c)
  test_program(cuda_kernels stmc_core "${SHIM}/build_shim.sh ${CMAKE_SOURCE_DIR}/kernels ${SHIM_LIBRARY}"
    gpu/kernels_test.c passes/kernel_make.c passes/kernel_run.c passes/jit.c)
  target_include_directories(cuda_kernels PRIVATE ${T}/gpu)
  foreach(name shim_broken shim_driver shim_cublaslt cuda_kernels)
    add_dependencies(${name} stmshim)
    target_link_libraries(${name} PRIVATE ${SHIM_LIBRARY})
  endforeach()
  set_tests_properties(shim_broken shim_driver shim_cublaslt PROPERTIES LABELS plain) # of the shim itself
  add_test(NAME cuda_train COMMAND ${T}/gpu/train.sh ${CMAKE_BINARY_DIR})
  set_tests_properties(cuda_train PROPERTIES TIMEOUT 600 SKIP_RETURN_CODE 77)
else()
  foreach(name shim_broken shim_driver shim_cublaslt cuda_kernels cuda_train)
    add_test(NAME ${name} COMMAND sh -c "echo 'no g++: skipped'; exit 77")
    set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77)
  endforeach()
endif()
