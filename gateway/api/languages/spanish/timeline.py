"""What happened, in Spanish, by the English sentences of `studies.event_words`."""

from collections.abc import Mapping
from typing import Final

TIMELINE: Final[Mapping[str, str]] = {
    "[{sender}: the association|The association] was broken off[; {instances} images are here]": (
        "[{sender}: la asociación|La asociación] se interrumpió[; hay {instances} imágenes aquí]"
    ),
    "[{sender}: the association|The association] was ended as it should[; {instances} images are here]": (
        "[{sender}: la asociación|La asociación] terminó como debía[; hay {instances} imágenes aquí]"
    ),
    "Not to be sent[ to {destination}] any more[: {reason}]": (
        "Ya no se enviará[ a {destination}][: {reason}]"
    ),
    "[{destination} is|Its destination is] yet to say that it keeps it[: {reason}]": (
        "[{destination}|Su destino] aún no ha confirmado que lo conserva[: {reason}]"
    ),
    "Not asked to be kept[ by {destination}][: {reason}]": (
        "No se pidió que se conserve[ en {destination}][: {reason}]"
    ),
    "[{destination} does|Its destination does] not have it after all[: {reason}]": (
        "[{destination}|Su destino] no lo tiene, al final[: {reason}]"
    ),
    "[{destination}|Its destination] keeps it for good[: {reason}]": (
        "[{destination}|Su destino] lo conserva definitivamente[: {reason}]"
    ),
    "Failed[ at {destination}][: {reason}]": "Falló[ en {destination}][: {reason}]",
    "Sent[ to {destination}] to its end before a newer one, for it may be there in part": (
        "Enviado[ a {destination}] hasta el final antes que uno más nuevo, pues puede estar allí en parte"
    ),
    "To be sent[ to {destination}]": "Por enviar[ a {destination}]",
    "Not sent[ to {destination}] for now[: {reason}]": "No enviado[ a {destination}] por ahora[: {reason}]",
    "To be sent[ to {destination}] once more[: {reason}]": (
        "Por enviar[ a {destination}] otra vez[: {reason}]"
    ),
    "Tried again[ at {destination}][: {reason}]": "Intentado de nuevo[ en {destination}][: {reason}]",
    "[{destination}|Its destination] has it[: {answer}][; {reason}]": (
        "[{destination}|Su destino] lo tiene[: {answer}][; {reason}]"
    ),
    "Not to be sent[ to {destination}] any more, for a newer one takes its place[: {reason}]": (
        "Ya no se enviará[ a {destination}], pues uno más nuevo ocupa su lugar[: {reason}]"
    ),
    "Tried now[ at {destination}], without waiting any longer": (
        "Intentado ahora[ en {destination}], sin esperar más"
    ),
    "An image came again[ in another transfer syntax ({transfer_syntax_uid})]; the first is kept": (
        "Una imagen llegó de nuevo[ en otra sintaxis de transferencia ({transfer_syntax_uid})]; se conserva"
        " la primera"
    ),
    "An image came again with another header[ (its revision {revision})]": (
        "Una imagen llegó de nuevo con otra cabecera[ (su revisión {revision})]"
    ),
    "The file of an image was lost here[ (its revision {revision})]; it is taken when it comes again": (
        "El archivo de una imagen se perdió aquí[ (su revisión {revision})]; se toma cuando llegue de nuevo"
    ),
    "A result of ours came in; it is never segmented": "Llegó un resultado nuestro; nunca se segmenta",
    "An object was put aside[: {reason}]": "Se apartó un objeto[: {reason}]",
    "An object that was put aside was dismissed[: {reason}]": "Se descartó un objeto apartado[: {reason}]",
    "An object that was put aside was taken in after all[: {reason}]": (
        "Un objeto apartado se aceptó después de todo[: {reason}]"
    ),
    "The queue took it[ as {queue_id}][ (run {run})]": (
        "La cola lo aceptó[ como {queue_id}][ (ejecución {run})]"
    ),
    "Found at the queue[ as {queue_id}][ (run {run})]": (
        "Encontrado en la cola[ como {queue_id}][ (ejecución {run})]"
    ),
    "The queue cannot run it[: {reason}][ ({code})]": "La cola no puede ejecutarlo[: {reason}][ ({code})]",
    "Cancelled[: {reason}]": "Cancelado[: {reason}]",
    "Converted to NIfTI[, images: {images}]": "Convertido a NIfTI[, imágenes: {images}]",
    "An edited result came back[, structures: {structures}][, mean Dice {mean_dice}]": (
        "Volvió un resultado editado[, estructuras: {structures}][, Dice medio {mean_dice}]"
    ),
    "An edited result came back that cannot be compared[: {why}]": (
        "Volvió un resultado editado que no se puede comparar[: {why}]"
    ),
    "[Over: {reason}|Every destination has it]": "[Terminado: {reason}|Todos los destinos lo tienen]",
    "[{destination} was|A destination was] asked which forms it takes[: {why}]": (
        "Se preguntó a [{destination}|un destino] qué formas acepta[: {why}]"
    ),
    "Earlier results were deleted[ at {destination}][, objects: {objects}]": (
        "Se borraron resultados anteriores[ en {destination}][, objetos: {objects}]"
    ),
    "Earlier results stay[ at {destination}][, objects: {objects}][; {why}]": (
        "Quedan resultados anteriores[ en {destination}][, objetos: {objects}][; {why}]"
    ),
    "Earlier results were rejected by a note[ to {destination}][, objects: {objects}]": (
        "Una nota rechazó resultados anteriores[ en {destination}][, objetos: {objects}]"
    ),
    "[{destination} was|A destination was] asked for the patient's earlier result": (
        "Se pidió a [{destination}|un destino] el resultado anterior del paciente"
    ),
    "Its results are made, read back and compared": "Sus resultados están generados, releídos y comparados",
    "Failed[: {reason}]": "Falló[: {reason}]",
    "Made anew, for files of it are gone[: {reason}]": "Generado de nuevo, pues faltan archivos[: {reason}]",
    "[{destination} does|A destination does] not take this form; another one is made[: {reason}]": (
        "[{destination}|Un destino] no acepta esta forma; se genera otra[: {reason}]"
    ),
    "Nothing was found, so nothing is sent": "No se encontró nada, así que no se envía nada",
    "Its results are made anew with the corrected header[: {reason}]": (
        "Sus resultados se generan de nuevo con la cabecera corregida[: {reason}]"
    ),
    "Held for a person[: {reason}]": "Retenido para una persona[: {reason}]",
    "Another run of it has begun first, and is followed[ ({queue_id})]": (
        "Otra ejecución empezó antes, y se sigue esa[ ({queue_id})]"
    ),
    "Chosen[ by rule {rule}][ for task {task}]": "Elegido[ por la regla {rule}][ para la tarea {task}]",
    "Put off[ for {delay_s} s][: {reason}]": "Aplazado[ {delay_s} s][: {reason}]",
    "Waits for a machine[ (run {run})]": "Espera una máquina[ (ejecución {run})]",
    "Released by a person[: {reason}]": "Liberado por una persona[: {reason}]",
    "Wanted after all[: {reason}]": "Se necesita después de todo[: {reason}]",
    "Its result was rejected at a destination[ ({code})]": (
        "Su resultado fue rechazado en un destino[ ({code})]"
    ),
    "Its result was taken back[, objects: {objects}][ ({code})]": (
        "Se retiró su resultado[, objetos: {objects}][ ({code})]"
    ),
    "Taken up again[: {reason}]": "Retomado[: {reason}]",
    "Its run was lost, and another one is begun[: {reason}]": (
        "Se perdió su ejecución, y se inicia otra[: {reason}]"
    ),
    "Segmented[ in {machine_s} s][ by {machine}]": "Segmentado[ en {machine_s} s][ por {machine}]",
    "Put into its job folder[, {input_mb} MB]": "Puesto en la carpeta de su trabajo[, {input_mb} MB]",
    "Its run got no further[ for {limit_s} s][: {reason}]": (
        "Su ejecución no avanzó[ en {limit_s} s][: {reason}]"
    ),
    "Begun[ (run {run})]": "Iniciado[ (ejecución {run})]",
    "A machine is getting ready for it[ (run {run})]": (
        "Una máquina se está preparando para él[ (ejecución {run})]"
    ),
    "Handed to the queue[ (run {run})]": "Entregado a la cola[ (ejecución {run})]",
    "Handed to the queue once more, for it was not seen there[ (run {run})]": (
        "Entregado a la cola otra vez, pues no se vio allí[ (ejecución {run})]"
    ),
    "Given up, for a newer one takes its place[: {reason}]": (
        "Abandonado, pues uno más nuevo ocupa su lugar[: {reason}]"
    ),
    "The run of another gateway is followed[ ({queue_id})]": (
        "Se sigue la ejecución de otro gateway[ ({queue_id})]"
    ),
    "Taken over from another gateway[ ({gateway})]": "Tomado de otro gateway[ ({gateway})]",
    "Its run took too long[, more than {limit_s} s][: {reason}]": (
        "Su ejecución tardó demasiado[, más de {limit_s} s][: {reason}]"
    ),
    "Its priority was changed[ to {priority}][; it was {before}]": (
        "Su prioridad cambió[ a {priority}][; era {before}]"
    ),
    "Tried now, without waiting any longer": "Intentado ahora, sin esperar más",
    "The queue did not say whether it took it[: {reason}]": "La cola no dijo si lo aceptó[: {reason}]",
    "Waits for a machine[: {reason}][ ({code})]": "Espera una máquina[: {reason}][ ({code})]",
    "Waits until this machine can[: {reason}]": "Espera hasta que esta máquina pueda[: {reason}]",
    "Waits for somebody else[: {reason}]": "Espera a otro sistema[: {reason}]",
    "Waits for its turn[: {reason}]": "Espera su turno[: {reason}]",
    "Taken back from the queue[ after {waited_s} s] without a machine, to be run elsewhere": (
        "Retirado de la cola[ tras {waited_s} s] sin máquina, para ejecutarlo en otro lugar"
    ),
    "Found in the data directory, and begun anew": (
        "Encontrado en el directorio de datos, y empezado de nuevo"
    ),
    "Its sender was told that we keep[ {committed}] images[, and not {failed}]": (
        "Se dijo a su remitente que conservamos[ {committed}] imágenes[, y no {failed}]"
    ),
    "A person said that it is complete": "Una persona dijo que está completo",
    "Complete[ ({evidence})][; jobs planned: {jobs}][; images that did not come: {missing}]": (
        "Completo[ ({evidence})][; trabajos planificados: {jobs}][; imágenes que no llegaron: {missing}]"
    ),
    "Done[: {reason}]": "Terminado[: {reason}]",
    "A person asked to forget it": "Una persona pidió olvidarlo",
    "The study waits for a person, who decides": "El estudio espera a una persona, que decide",
    "The study has failed": "El estudio ha fallado",
    "Its images were removed here[, files: {files}][; {why}]": (
        "Sus imágenes se eliminaron aquí[, archivos: {files}][; {why}]"
    ),
    "Images are coming in[ from {sender}]": "Están llegando imágenes[ de {sender}]",
    "Somebody named the images that belong to it[: {named}]": (
        "Alguien nombró las imágenes que le pertenecen[: {named}]"
    ),
    "Images were rejected by a note[: {here} of {named} are here][ ({code})]": (
        "Una nota rechazó imágenes[: {here} de {named} están aquí][ ({code})]"
    ),
    "The PACS was asked what it holds: [{answer}|it answered][; missing here: {missing}]": (
        "Se preguntó al PACS qué tiene: [{answer}|respondió][; faltan aquí: {missing}]"
    ),
    "Decided anew[; jobs: {jobs}]": "Decidido de nuevo[; trabajos: {jobs}]",
    "Results that were sent again are there[ at {destination}][, objects: {objects}]": (
        "Los resultados enviados de nuevo están allí[ en {destination}][, objetos: {objects}]"
    ),
    "Results are gone[ at {destination}] and not sent again[, objects: {objects}][; {reason}]": (
        "Los resultados ya no están[ en {destination}] y no se envían de nuevo[, objetos: {objects}]"
        "[; {reason}]"
    ),
    "[{destination} does|A destination does] not show results[, objects: {objects}][; {reason}]": (
        "[{destination}|Un destino] no muestra resultados[, objetos: {objects}][; {reason}]"
    ),
    "[{destination} did|A destination did] not say whether results are still there[: {reason}]": (
        "[{destination}|Un destino] no dijo si los resultados siguen allí[: {reason}]"
    ),
    "Its results were removed here[, jobs: {jobs}][; {why}]": (
        "Sus resultados se eliminaron aquí[, trabajos: {jobs}][; {why}]"
    ),
    "Results were gone[ at {destination}], and are sent again[, objects: {objects}]": (
        "Los resultados ya no estaban[ en {destination}], y se envían de nuevo[, objetos: {objects}]"
    ),
    "Its results are still there[ at {destination}][, objects: {objects}]": (
        "Sus resultados siguen allí[ en {destination}][, objetos: {objects}]"
    ),
    "Under way again[: {reason}]": "En marcha de nuevo[: {reason}]",
    "A person chose a volume[: number {number} of its series]": (
        "Una persona eligió un volumen[: número {number} de su serie]"
    ),
    " (asked for by {by})": " (a petición de {by})",
    "all is here": "todo está aquí",
    "it holds more than came": "tiene más de lo que llegó",
    "it holds less than came": "tiene menos de lo que llegó",
    "it was not there": "no estaba disponible",
    "it did not answer in time": "no respondió a tiempo",
    "it refused to say": "se negó a decirlo",
    "its answer cannot be read": "su respuesta no se puede leer",
    "delivered": "entregado",
    "nothing to do: no rule takes any of its series": "nada que hacer: ninguna regla toma sus series",
    "the label map is ready": "el mapa de etiquetas está listo",
    "nothing was found, so nothing was sent": "no se encontró nada, así que no se envió nada",
    "cancelled": "cancelado",
    "superseded": "sustituido",
    "encoded, but no destination is configured": "codificado, pero no hay ningún destino configurado",
}
