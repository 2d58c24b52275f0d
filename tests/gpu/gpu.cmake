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
  # Every contraction of HEVisum and of the odd ones, as products and as instances, against the interpreter.
  add_executable(contraction_test ${T}/gpu/contraction_test.c ${T}/passes/kernel_run.c)
  target_include_directories(contraction_test PRIVATE ${T} ${T}/passes)
  target_link_libraries(contraction_test PRIVATE stmc_core ${SHIM_LIBRARY})
  add_dependencies(contraction_test stmshim)
  add_test(NAME cuda_contractions COMMAND contraction_test ${SHIM}/build_shim.sh ${CMAKE_SOURCE_DIR}/kernels ${SHIM_LIBRARY}
    ${CMAKE_SOURCE_DIR}/stdlib 4 examples/hevisum/hevisum.stm tests/gpu/contractions.stm WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(cuda_contractions PROPERTIES TIMEOUT 900 SKIP_RETURN_CODE 77 LABELS slow)
  # The test blocks of the standard library, the systems and the workbenches, from their CUDA plans.
  file(GLOB MODULE_STM CONFIGURE_DEPENDS ${T}/language/stdlib/*.stm ${T}/language/systems/*.stm ${CMAKE_SOURCE_DIR}/kernels/workbench/*.stm)
  foreach(file ${MODULE_STM})
    file(STRINGS ${file} HAS_TEST REGEX "^test " LIMIT_COUNT 1)
    if(HAS_TEST)
      get_filename_component(name ${file} NAME_WE)
      add_test(NAME cuda_module:${name} COMMAND ${T}/gpu/modules.sh ${CMAKE_BINARY_DIR} ${file})
      set_tests_properties(cuda_module:${name} PROPERTIES TIMEOUT 600 SKIP_RETURN_CODE 77)
    endif()
  endforeach()
  set_tests_properties(cuda_module:rest PROPERTIES ENVIRONMENT STM_SHIM_MODE=plain) # a whole ResNet: too long with checks
  add_test(NAME cuda_train COMMAND ${T}/gpu/train.sh ${CMAKE_BINARY_DIR})
  set_tests_properties(cuda_train PROPERTIES TIMEOUT 600 SKIP_RETURN_CODE 77)
else()
  foreach(name shim_broken shim_driver shim_cublaslt cuda_kernels cuda_train)
    add_test(NAME ${name} COMMAND sh -c "echo 'no g++: skipped'; exit 77")
    set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77)
  endforeach()
endif()

# Everything compiles for sm_80, sm_90 and as PTX, without spills.
file(GLOB COMPILE_STM CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/examples/*/*.stm ${T}/language/systems/*.stm
  ${CMAKE_SOURCE_DIR}/kernels/workbench/*.stm ${T}/language/stdlib/*.stm)
list(FILTER COMPILE_STM EXCLUDE REGEX "/marks.stm$") # shared by the others
add_test(NAME cuda_compile COMMAND ${T}/gpu/compile.sh ${CMAKE_BINARY_DIR} ${COMPILE_STM})
set_tests_properties(cuda_compile PROPERTIES TIMEOUT 900 SKIP_RETURN_CODE 77 LABELS slow)
